//! Stolen forks: who runs each, who waits for it, and from which it descends.

/// The number of a stolen fork.
pub type JobId = u32;

/// No stolen fork: the root of a tree.
pub const ROOT: JobId = JobId::MAX;

/// A stolen fork.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The thread that forked it.
    pub owner: usize,
    /// The thread that runs it.
    pub thief: usize,
    /// The run in which it was forked.
    pub parent: JobId,
    /// Its thief has finished.
    pub done: bool,
    /// Its owner has announced that it parks.
    pub awaited: bool,
}

/// All stolen forks that have not been joined yet.
#[derive(Debug, Default)]
pub struct Jobs {
    all: Vec<Job>,
    free: Vec<JobId>,
}

impl Jobs {
    /// A fork of `owner`, made in the run `parent`, is taken by `thief`.
    pub fn add(&mut self, owner: usize, thief: usize, parent: JobId) -> JobId {
        let job = Job {
            owner,
            thief,
            parent,
            done: false,
            awaited: false,
        };
        match self.free.pop() {
            Some(id) => {
                self.all[id as usize] = job;
                id
            }
            None => {
                self.all.push(job);
                (self.all.len() - 1) as JobId
            }
        }
    }

    /// Its owner has joined it, and nothing descends from it any more.
    pub fn remove(&mut self, id: JobId) {
        self.free.push(id);
    }

    /// One of them.
    pub fn get(&self, id: JobId) -> &Job {
        &self.all[id as usize]
    }

    /// One of them, to be changed.
    pub fn get_mut(&mut self, id: JobId) -> &mut Job {
        &mut self.all[id as usize]
    }

    /// `id` and all from which it descends.
    pub fn ancestors(&self, id: JobId) -> impl Iterator<Item = JobId> {
        let next = |id: JobId| (id != ROOT).then_some(id);
        std::iter::successors(next(id), move |&id| next(self.get(id).parent))
    }

    /// Whether what was forked in the run `id` descends from `below`.
    pub fn descends(&self, id: JobId, below: JobId) -> bool {
        self.ancestors(id).any(|ancestor| ancestor == below)
    }
}
