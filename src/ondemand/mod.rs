//! Probes on demand: one pass over a target at the moment of a request, and nothing left of it afterwards.
//!
//! Two kinds of targets can be asked for, and never mistaken for each other: without a module the request names a
//! target of the configuration, with a module it has an address. An address is probed only if the module allows it
//! ([`AllowList`]), with the module's login. Every refusal looks the same, so that the exporter is no port scanner.
//!
//! A probe shares the connections of its server with the targets of the configuration, and with other probes on
//! demand. It has counters of its own, and ends with its request.

mod address;
mod allowed;
mod checked;
mod module;
mod requested;
mod run;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use allowed::{AllowList, Allowed};
pub(crate) use module::AuthModule;
pub(crate) use run::{Disclosure, OnDemandProbe};

use self::checked::CheckedResolver;
use self::requested::{Requested, RequestedHost};
use self::run::Plan;
use self::turns::Turns;
use crate::pool::{ConnectMemory, Resolve, Resolver};
use crate::probe::Roster;

/// The longest time of a probe. The web server gives up a request after 30 s.
const LONGEST: Duration = Duration::from_secs(25);

/// The lookups of names at once, also of those that hang.
const LOOKUPS: usize = 16;

/// Probes targets on demand.
pub(crate) struct OnDemand {
    roster: Arc<Roster>,
    modules: ArcSwap<BTreeMap<String, Arc<Module>>>,
    resolver: Arc<dyn Resolve>,
    places: Arc<Semaphore>,
    turns: Turns,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A module, and what its connects remember.
struct Module {
    settings: AuthModule,
    memory: ConnectMemory,
}

/// A request for a probe.
#[derive(Clone, Copy)]
pub(crate) struct ProbeRequest<'a> {
    /// The name of a target of the configuration, or, with a module, an address.
    pub target: &'a str,
    /// The module with the login for the address.
    pub module: Option<&'a str>,
    /// The limit of the probe, if the client has one.
    pub limit: Option<Duration>,
}

/// The reason for which there was no probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoProbe {
    /// There is nothing that could be probed.
    Nothing,
    /// Monitoring is disabled.
    Disabled,
    /// There is no such module.
    UnknownModule,
    /// The target is not known or not allowed, or it is not an address.
    NotAllowed,
    /// There are as many probes on demand as may be at once.
    Busy,
}

impl OnDemand {
    /// At most `most` probes run at once. `tasks` and `stop` track and end everything that they start.
    pub(crate) fn new(
        roster: Arc<Roster>,
        most: usize,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            roster,
            modules: ArcSwap::default(),
            resolver: Arc::new(Resolver::at_once(LOOKUPS)),
            places: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            turns: Turns::default(),
            tasks,
            stop,
        }
    }

    /// Replaces the modules. One with equal settings keeps what its connects remember.
    pub(crate) fn apply(&self, modules: BTreeMap<String, AuthModule>) {
        let before = self.modules.load_full();
        let after = modules.into_iter().map(|(name, settings)| {
            let same = before.get(&name).filter(|module| module.settings == settings);
            let module = same.cloned().unwrap_or_else(|| {
                let memory = ConnectMemory::new(settings.template.connect.credentials.clone());
                Arc::new(Module { settings, memory })
            });
            (name, module)
        });
        self.modules.store(Arc::new(after.collect()));
    }

    /// Probes a target once.
    ///
    /// Cancel safe: a probe that is dropped closes its connections.
    ///
    /// # Errors
    /// Nothing was probed, and nothing was connected to. A database that is down is no error.
    pub(crate) async fn probe(
        self: &Arc<Self>,
        request: &ProbeRequest<'_>,
    ) -> Result<OnDemandProbe, NoProbe> {
        let start = Instant::now();
        let plan = self.plan(request)?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| NoProbe::Busy)?;
        let own = plan.settings.schedule.timeout.min(LONGEST);
        let deadline = start + request.limit.map_or(own, |limit| limit.min(own));
        let (mut asker, answer) = oneshot::channel();
        let own = Arc::clone(self);
        // Logins and handshakes take computing time, which the thread that answers requests has not got.
        self.roster.spawn(async move {
            let result = tokio::select! {
                result = own.run(plan, place, deadline) => result,
                () = asker.closed() => return,
            };
            drop(asker.send(result));
        });
        answer.await.unwrap_or(Err(NoProbe::Busy))
    }

    fn plan(&self, request: &ProbeRequest<'_>) -> Result<Plan, NoProbe> {
        let modules = self.modules.load();
        if modules.is_empty() && self.roster.targets().is_empty() {
            return Err(NoProbe::Nothing);
        }
        if !self.roster.is_probing() {
            return Err(NoProbe::Disabled);
        }
        let Some(module) = request.module else {
            return self.plan_named(request.target).ok_or(NoProbe::NotAllowed);
        };
        let module = modules.get(module).ok_or(NoProbe::UnknownModule)?;
        self.plan_address(request.target, module).ok_or(NoProbe::NotAllowed)
    }

    /// A fresh probe of a target of the configuration.
    fn plan_named(&self, name: &str) -> Option<Plan> {
        let target = self.roster.target(name)?;
        Some(Plan {
            settings: target.settings().clone(),
            memory: target.pool().connector().memory().clone(),
            checked: None,
            disclosure: Disclosure::Full,
        })
    }

    fn plan_address(&self, text: &str, module: &Module) -> Option<Plan> {
        let requested = Requested::parse(text)?;
        let mut settings = module.settings.settings_for(&requested)?;
        settings.connect.linger = LINGER;
        let checked = match requested.host {
            // An address is what it is: the list has checked it.
            RequestedHost::Address(_) => None,
            RequestedHost::Name(_) => {
                let allowed = module.settings.allowed.clone();
                Some(Arc::new(CheckedResolver::new(Arc::clone(&self.resolver), allowed)))
            }
        };
        let memory = match &checked {
            Some(checked) => module.memory.with_resolver(Arc::<CheckedResolver>::clone(checked)),
            None => module.memory.clone(),
        };
        Some(Plan { settings, memory, checked, disclosure: Disclosure::Reasons })
    }
}

/// The time for which a connection to an address stays open after it was given up. There can be as many addresses as
/// a network has, so they must not be waited for as long as the targets of the configuration.
const LINGER: Duration = Duration::from_secs(2);
