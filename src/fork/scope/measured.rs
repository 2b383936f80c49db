//! The tasks of a scope that a profile measures.

use super::Scope;
use crate::fork::measured;
use crate::pool::context;
use crate::profile::site::SiteRef;
use crate::profile::tasks::OpenScope;
use crate::record::Named;

impl<'scope> Scope<'scope> {
    #[cold]
    #[inline(never)]
    pub(super) fn spawn_measured<F>(&self, f: F)
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        self.spawn_now(self.measured_task(f));
    }

    /// Returns `f` as a task that is measured, if the scope is.
    pub(super) fn measured_task<F>(
        &self,
        f: F,
    ) -> impl FnOnce(&Scope<'scope>) + Send + use<'scope, F>
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        let site = SiteRef::whole(Named::<F>::SCOPE, None);
        let task = self
            .measures()
            .map(|tasks| tasks.spawn(context::line(), site));
        move |scope: &Scope<'scope>| match (scope.measures(), task) {
            (Some(tasks), Some(task)) => measured::task(tasks, task, || f(scope)),
            _ => f(scope),
        }
    }

    /// Where the tasks are measured, if they are.
    fn measures(&self) -> Option<&OpenScope<'static>> {
        // SAFETY: the pointer is null, or that to a value which `scope_on` keeps until the tasks have ended.
        unsafe { self.measured.as_ref() }
    }
}
