//! Sites by number, and their names.

use super::model::Site;
use crate::record::{Name, Place, SiteInfo, SiteKind, SiteWord, Work};
use std::collections::HashMap;
use std::sync::Arc;

/// The sites of a trace.
pub(super) struct Sites {
    sites: Vec<Site>,
    numbers: HashMap<(SiteKind, String, Option<Place>), u32>,
    /// The numbers of the words that were seen before, and of the user's names.
    words: HashMap<SiteWord, u32>,
    /// The last word, which often is the next one too.
    last: Option<(SiteWord, u32)>,
    named: HashMap<(SiteKind, u32), u32>,
    names: Vec<Arc<str>>,
    places: HashMap<Name, Option<Place>>,
    /// The places by kind and name, for words that are not in `places`: the program may have several copies of a site. `None` for several places.
    by_name: HashMap<(SiteKind, &'static str), Option<Place>>,
}

/// The path in front of the types that the pieces of maps have.
const MAPS: &str = "heist::fork::map::";

/// What a site is called whose name is not known.
const UNKNOWN: &str = "(unknown)";

impl Sites {
    /// `names` are those that the user gave, `places` are where the work of each name was made.
    pub(super) fn new(names: Vec<Arc<str>>, places: HashMap<Name, Option<Place>>) -> Self {
        let mut by_name = HashMap::new();
        for (name, &place) in &places {
            if let Name::Site(word) = name
                && let Some(site) = word.site()
            {
                let known = by_name.entry(described(site)).or_insert(place);
                *known = known.filter(|known| Some(*known) == place);
            }
        }
        Sites {
            sites: Vec::new(),
            numbers: HashMap::new(),
            words: HashMap::new(),
            last: None,
            named: HashMap::new(),
            names,
            places,
            by_name,
        }
    }

    pub(super) fn into_vec(self) -> Vec<Site> {
        self.sites
    }

    /// The number of the site with this name, whose place is not known.
    pub(super) fn number(&mut self, kind: SiteKind, name: &str) -> u32 {
        self.number_at(kind, name, None)
    }

    /// The number of the site with this name and place.
    fn number_at(&mut self, kind: SiteKind, name: &str, place: Option<Place>) -> u32 {
        let next = self.sites.len() as u32;
        let number = *self
            .numbers
            .entry((kind, name.to_owned(), place))
            .or_insert(next);
        if number == next {
            self.sites.push(Site {
                kind,
                name: name.to_owned(),
                file: place.map(|place| place.file()),
                line: place.map_or(0, |place| place.line()),
            });
        }
        number
    }

    /// The number of the site of a word.
    pub(super) fn of_word(&mut self, word: SiteWord, what: Work) -> u32 {
        if let Some((last, number)) = self.last
            && last == word
        {
            return number;
        }
        let known = self.words.get(&word).copied();
        let number = known.unwrap_or_else(|| self.first_of_word(word, what));
        if word != SiteWord::UNKNOWN {
            self.last = Some((word, number));
        }
        number
    }

    fn first_of_word(&mut self, word: SiteWord, what: Work) -> u32 {
        let number = match word.site() {
            Some(site) => {
                let (kind, name) = described(site);
                let known = self.places.get(&Name::Site(word));
                let place = known.or_else(|| self.by_name.get(&(kind, name)));
                self.number_at(kind, name, place.copied().flatten())
            }
            None => return self.number(kind_of(what), UNKNOWN),
        };
        self.words.insert(word, number);
        number
    }

    /// The number of the site of a run.
    pub(super) fn of_name(&mut self, name: Name, what: Work) -> u32 {
        let index = match name {
            Name::Site(word) => return self.of_word(word, what),
            Name::User(index) => index,
        };
        let kind = kind_of(what);
        if let Some(&number) = self.named.get(&(kind, index)) {
            return number;
        }
        let name = self.names.get(index as usize).cloned();
        let place = self.places.get(&Name::User(index)).copied().flatten();
        let number = self.number_at(kind, name.as_deref().unwrap_or(UNKNOWN), place);
        self.named.insert((kind, index), number);
        number
    }
}

fn kind_of(what: Work) -> SiteKind {
    match what {
        Work::Fork => SiteKind::Join,
        Work::ScopeTask => SiteKind::Scope,
        Work::Task => SiteKind::Task,
        Work::Poll => SiteKind::Future,
        Work::Broadcast => SiteKind::Broadcast,
        Work::Run => SiteKind::Run,
    }
}

/// The kind of a site, and the name that tells the user most.
pub(crate) fn described(site: &SiteInfo) -> (SiteKind, &'static str) {
    let name = without_span((site.name)());
    if !name.starts_with("heist::") {
        return (site.kind, name);
    }
    let kind = match site.kind {
        SiteKind::Join if name.starts_with(MAPS) => SiteKind::Map,
        kind => kind,
    };
    (kind, users_part(name).unwrap_or(name))
}

/// The name of a closure or future without what the feature `tracing` puts around it.
fn without_span(name: &str) -> &str {
    const AROUND: [&str; 2] = [
        "heist::executor::spans::carry<",
        "tracing::instrument::Instrumented<",
    ];
    let is_around = AROUND.iter().any(|around| name.starts_with(around));
    let inner = is_around.then(|| parameters(name).next()).flatten();
    inner.unwrap_or(name)
}

/// The first closure of the user among the parameters of a type of this crate, which is what a map or a stream calls.
fn users_part(name: &str) -> Option<&str> {
    parameters(name).find_map(|parameter| {
        let is_ours = ["heist::", "core::", "alloc::", "std::"]
            .iter()
            .any(|path| parameter.starts_with(path));
        if !is_ours && parameter.ends_with("{{closure}}") {
            return Some(parameter);
        }
        users_part(parameter)
    })
}

/// The parameters of all generic parts of a type's name.
fn parameters(name: &str) -> impl Iterator<Item = &str> {
    let mut found = Vec::new();
    let (mut depth, mut begin) = (0_usize, 0);
    for (at, character) in name.char_indices() {
        let is_arrow = character == '>' && name[..at].ends_with('-');
        match character {
            '<' | '(' | '[' => {
                depth += 1;
                if depth == 1 {
                    begin = at + 1;
                }
            }
            '>' | ')' | ']' if !is_arrow => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    found.push(name[begin..at].trim());
                }
            }
            ',' if depth == 1 => {
                found.push(name[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    found.into_iter().filter(|parameter| !parameter.is_empty())
}

#[cfg(test)]
mod tests;
