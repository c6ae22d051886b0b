//! The door: what a daemon does with networks, one verb a function.
//!
//! A published port, an endpoint: each is one small change in the kernel, and the same change in
//! the state. The state is the truth from which all rules can be made again.

mod connect;
mod heal;
mod ipam;
mod manage;
mod parent;
mod publish;
mod remote;
mod settings;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hull_sys::{
    netlink::route::Route,
    nftables::{Firewall, TableName},
};

pub(crate) use self::connect::{PREFIX as LINK_PREFIX, parse_mac};
pub use self::heal::{Healed, Stray};
use crate::{
    Config, Error, Network, Plugins, Sandbox, SandboxOwner, SubnetUse, bridge,
    monitor::{Changes, Monitor},
    names::Names,
    reaper::Reaper,
    state::State,
};

/// All networks of a daemon, in the network namespace of the thread that opened it.
///
/// Share it between threads; every function may block for milliseconds.
#[derive(Debug)]
pub struct Networks {
    config: Config,
    plugins: Option<Arc<dyn Plugins>>,
    state: Arc<Mutex<State>>,
    route: Mutex<Route>,
    firewall: Mutex<Firewall>,
    /// The tables the kernel was given last, and how many parts each has.
    applied: Mutex<Vec<(TableName, usize)>>,
    /// Held by who chooses a new network's addresses and bridge, until the state has them.
    choosing: Mutex<()>,
    monitor: Monitor,
    /// What could not be healed yet.
    unhealed: Mutex<Changes>,
    reaper: Reaper,
    names: Names,
}

impl Networks {
    /// Makes the predefined networks, or finds them again: `saved` are the records that
    /// [`list`](Self::list) gave before. Rules are made by [`restore`](Self::restore), which must
    /// be called next, so that published ports stay open over a restart.
    pub fn open(config: Config, saved: &[Network]) -> Result<Self, Error> {
        Self::open_with(config, None, saved)
    }

    /// The same, with a way to plugins.
    pub fn open_with(
        config: Config,
        plugins: Option<Arc<dyn Plugins>>,
        saved: &[Network],
    ) -> Result<Self, Error> {
        let mut route = Route::open().map_err(Error::kernel("look at the host's links"))?;
        let records = manage::all_networks(&config, saved, &mut route)?;
        let state = Arc::new(Mutex::new(State::default()));
        let networks = Self {
            firewall: Mutex::new(Firewall::open().map_err(Error::kernel("open the firewall"))?),
            applied: Mutex::default(),
            choosing: Mutex::default(),
            monitor: Monitor::open()?,
            unhealed: Mutex::default(),
            reaper: Reaper::start(Arc::clone(&state), &config)?,
            route: Mutex::new(route),
            names: Names::new(config.resolver.clone(), &state),
            state,
            plugins,
            config,
        };
        for record in records {
            let is_users = !record.is_predefined();
            let name = record.name.clone();
            match networks.attach(record) {
                // One broken network is no reason not to start: `heal` tries again.
                Err(error) if is_users => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(network = name, %error, cause, "cannot set up network");
                }
                result => result?,
            }
        }
        networks.ensure_gate()?;
        Ok(networks)
    }

    /// All networks, as they are to be stored.
    pub fn list(&self) -> Vec<Network> {
        self.state()
            .networks
            .values()
            .map(|network| network.record.clone())
            .collect()
    }

    /// A network by its id, its name, or the beginning of its id.
    pub fn find(&self, reference: &str) -> Option<Network> {
        self.state()
            .network(reference)
            .map(|network| network.record.clone())
    }

    /// How full a network is, for each of its subnets.
    pub fn usage(&self, id: &str) -> Vec<SubnetUse> {
        let state = self.state();
        let network = state.networks.get(id);
        let pools = network.map_or(&[][..], |network| &network.addresses);
        pools.iter().map(crate::pool::Addresses::usage).collect()
    }

    /// A sandbox for a container, as the options want them: one that is ready, or a new one.
    pub fn sandbox(&self) -> Result<Sandbox, Error> {
        let new = || Sandbox::for_options(self.config.user_namespaces.as_ref());
        self.reaper.sandbox().map_or_else(new, Ok)
    }

    /// The same, with a word on whose it is.
    pub fn sandbox_of(&self, owner: SandboxOwner<'_>) -> Result<Sandbox, Error> {
        match owner {
            SandboxOwner::Host if self.config.user_namespaces.is_some() => Sandbox::create(),
            SandboxOwner::Host | SandboxOwner::New => self.sandbox(),
            SandboxOwner::Given(user) => Sandbox::create_in(user),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self) -> MutexGuard<'_, Route> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unhealed(&self) -> MutexGuard<'_, Changes> {
        self.unhealed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn applied(&self) -> MutexGuard<'_, Vec<(TableName, usize)>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn firewall(&self) -> MutexGuard<'_, Firewall> {
        self.firewall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a network and sets it up on the host.
    fn attach(&self, record: Network) -> Result<(), Error> {
        let network = crate::state::Attached::new(record.clone());
        let (id, plan) = (record.id.clone(), network.plan(&self.config));
        self.state().networks.insert(id.clone(), network);
        self.ensure_parent(&record)?;
        if let Some(plan) = plan {
            let (index, _) = bridge::ensure(&mut self.route(), &plan)?;
            if let Some(network) = self.state().networks.get_mut(&id) {
                network.bridge_index = index;
            }
        }
        Ok(())
    }
}
