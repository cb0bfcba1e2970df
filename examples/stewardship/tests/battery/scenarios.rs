//! Change logs of a small organisation in motion, each seeded, each with more of one thing.

use fastrand::Rng;
use stewardship::change_log::{Change, Operation};

/// What a scenario has more of than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Theme {
    /// Several systems behind each connection.
    SystemsPerConnection,
    /// Monitors that move between many connections.
    Connections,
    /// Explicit stewards beside inherited ones, often the same user.
    Explicit,
    /// Inheritance turned on and off.
    Flags,
    /// Monitors that watch something else, or nothing.
    Reassignment,
    /// Systems, connections, users and monitors that disappear, and come back.
    Cascades,
    /// Many operations of few monitors.
    Bursts,
    /// Transactions, many of which are rolled back.
    Rollbacks,
    /// Users who take over sets of systems.
    Takeovers,
    /// Everything alike.
    Everything,
}

const STEPS: usize = 90;

struct Sizes {
    users: usize,
    systems: usize,
    connections: usize,
    monitors: usize,
}

impl Theme {
    fn sizes(self) -> Sizes {
        let (users, systems, connections, monitors) = match self {
            Self::SystemsPerConnection => (4, 8, 2, 4),
            Self::Connections => (3, 4, 7, 5),
            Self::Bursts => (2, 2, 2, 3),
            _ => (4, 4, 3, 5),
        };
        Sizes { users, systems, connections, monitors }
    }

    /// How likely each kind of operation is: steward, systems of a user, link, flag, reassignment,
    /// explicit, operation, deletion.
    fn weights(self) -> [u32; 8] {
        match self {
            Self::SystemsPerConnection => [10, 3, 12, 2, 2, 2, 1, 0],
            Self::Connections => [5, 1, 10, 2, 10, 1, 1, 0],
            Self::Explicit => [8, 2, 4, 4, 2, 14, 1, 0],
            Self::Flags => [5, 1, 3, 16, 2, 2, 1, 0],
            Self::Reassignment => [5, 1, 4, 2, 16, 1, 1, 0],
            Self::Cascades => [8, 2, 8, 2, 4, 3, 3, 8],
            Self::Bursts => [1, 0, 1, 1, 1, 0, 30, 0],
            Self::Rollbacks => [6, 2, 6, 6, 4, 4, 6, 2],
            Self::Takeovers => [3, 16, 4, 2, 2, 1, 1, 1],
            Self::Everything => [1, 1, 1, 1, 1, 1, 1, 1],
        }
    }
}

/// Makes the log of a theme; the same seed makes the same.
pub(super) fn log(theme: Theme, seed: u64) -> Vec<Change> {
    let mut making = Making { rng: Rng::with_seed(seed), theme, sizes: theme.sizes() };
    let mut log = making.founding();
    let transactions = if theme == Theme::Rollbacks { 60 } else { 15 };
    while log.len() < STEPS {
        if making.rng.u32(..100) < transactions {
            let ops = (0..making.rng.usize(2..6)).map(|_| making.operation()).collect();
            log.push(Change::transaction(ops, making.rng.u32(..100) < 40));
        } else {
            log.push(Change::One(making.operation()));
        }
    }
    log
}

struct Making {
    rng: Rng,
    theme: Theme,
    sizes: Sizes,
}

impl Making {
    /// Everything that there is, in one order.
    fn founding(&mut self) -> Vec<Change> {
        let Sizes { users, systems, connections, monitors } = self.sizes;
        let mut founding = Vec::new();
        founding.extend((0..users).map(|n| Operation::CreateUser { user_id: format!("u{n}") }));
        founding
            .extend((0..systems).map(|n| Operation::CreateSystem { system_id: format!("s{n}") }));
        founding.extend(
            (0..connections)
                .map(|n| Operation::CreateConnection { connection_config_id: format!("c{n}") }),
        );
        founding.extend((0..monitors).map(|n| Operation::CreateMonitor {
            key: format!("m{n}"),
            connection_config_id: Some(format!("c{}", self.rng.usize(..connections))),
            inherit_system_stewards: self.rng.u32(..100) < 70,
        }));
        founding.into_iter().map(Change::One).collect()
    }

    fn user(&mut self) -> String {
        format!("u{}", self.rng.usize(..self.sizes.users))
    }

    fn system(&mut self) -> String {
        format!("s{}", self.rng.usize(..self.sizes.systems))
    }

    fn connection(&mut self) -> String {
        format!("c{}", self.rng.usize(..self.sizes.connections))
    }

    fn monitor(&mut self) -> String {
        format!("m{}", self.rng.usize(..self.sizes.monitors))
    }

    /// An operation; it may be refused, where something has been deleted.
    fn operation(&mut self) -> Operation {
        let weights = self.theme.weights();
        let mut at = self.rng.u32(..weights.iter().sum::<u32>());
        let kind = weights.iter().position(|weight| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        let more = self.rng.u32(..100) < 65;
        match kind.expect("the weights add up") {
            0 => match more {
                true => Operation::AddSteward { system_id: self.system(), user_id: self.user() },
                false => {
                    Operation::RemoveSteward { system_id: self.system(), user_id: self.user() }
                }
            },
            1 => {
                let count = self.rng.usize(..4);
                let system_ids = (0..count).map(|_| self.system()).collect();
                Operation::SetManagedSystems { user_id: self.user(), system_ids }
            }
            2 => {
                let (system_id, connection_config_id) = (self.system(), self.connection());
                match more {
                    true => Operation::Link { system_id, connection_config_id },
                    false => Operation::Unlink { system_id, connection_config_id },
                }
            }
            3 => Operation::SetInheritance { key: self.monitor(), enabled: more },
            4 => Operation::ReassignConnection {
                key: self.monitor(),
                connection_config_id: self.rng.bool().then(|| self.connection()),
            },
            5 => match more {
                true => Operation::AddExplicitSteward { key: self.monitor(), user_id: self.user() },
                false => {
                    Operation::RemoveExplicitSteward { key: self.monitor(), user_id: self.user() }
                }
            },
            6 => {
                const TYPES: [&str; 7] = [
                    "monitor_execution",
                    "classify",
                    "review",
                    "confirm",
                    "promote",
                    "mute",
                    "unmute",
                ];
                let at = self.rng.usize(..TYPES.len() + 2).saturating_sub(2); // found more often
                Operation::Complete { key: self.monitor(), operation_type: TYPES[at].into() }
            }
            _ => self.deletion(more),
        }
    }

    /// What is deleted comes back, if the dice say so.
    fn deletion(&mut self, delete: bool) -> Operation {
        match (self.rng.u32(..4), delete) {
            (0, true) => Operation::DeleteUser { user_id: self.user() },
            (0, false) => Operation::CreateUser { user_id: self.user() },
            (1, true) => Operation::DeleteSystem { system_id: self.system() },
            (1, false) => Operation::CreateSystem { system_id: self.system() },
            (2, true) => Operation::DeleteConnection { connection_config_id: self.connection() },
            (2, false) => Operation::CreateConnection { connection_config_id: self.connection() },
            (_, true) => Operation::DeleteMonitor { key: self.monitor() },
            (_, false) => Operation::CreateMonitor {
                key: self.monitor(),
                connection_config_id: None,
                inherit_system_stewards: true,
            },
        }
    }
}
