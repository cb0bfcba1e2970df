//! An organisation in motion: what exists, and what happens next.

use super::Plan;
use super::names;
use super::random::Random;
use crate::change_log::{Change, Operation};

/// What exists after the lines so far. Things are known by their numbers.
pub(super) struct Organisation {
    random: Random,
    plan: Plan,
    users: usize,
    systems: usize,
    connections: usize,
    monitors: usize,
    stewards: Pairs,
    links: Pairs,
    explicit: Pairs,
}

impl Organisation {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            random: Random::new(plan.seed),
            plan,
            users: 0,
            systems: 0,
            connections: 0,
            monitors: 0,
            stewards: Pairs::default(),
            links: Pairs::default(),
            explicit: Pairs::default(),
        }
    }

    /// The next line, when so many are left, itself included.
    pub(super) fn next(&mut self, left: usize) -> Change {
        let to_create = [
            self.plan.users - self.users,
            self.plan.systems - self.systems,
            self.plan.connections - self.connections,
            self.plan.monitors - self.monitors,
        ];
        let waiting: usize = to_create.iter().sum();
        let founding = [self.users, self.systems, self.connections, self.monitors].contains(&0);
        // Created evenly over the first two thirds of the log.
        let due = (left * 3).saturating_sub(self.plan.lines) / 3;
        let create =
            waiting > 0 && (founding || waiting >= left || self.random.below(due.max(1)) < waiting);
        if create { self.create(to_create) } else { self.happen() }
    }

    fn create(&mut self, [users, systems, connections, monitors]: [usize; 4]) -> Change {
        // One of each first: a monitor wants a connection, a system wants a steward.
        let of_each = [self.users, self.systems, self.connections, self.monitors];
        let kind = of_each.iter().position(|count| *count == 0).unwrap_or_else(|| {
            let at = self.random.below(users + systems + connections + monitors);
            [users, users + systems, users + systems + connections, usize::MAX]
                .iter()
                .position(|bound| at < *bound)
                .expect("the last bound has no end")
        });
        match kind {
            0 => {
                self.users += 1;
                Change::One(Operation::CreateUser { user_id: names::user(self.users - 1) })
            }
            1 => self.create_system(),
            2 => {
                self.connections += 1;
                let connection_config_id = names::connection(self.connections - 1);
                Change::One(Operation::CreateConnection { connection_config_id })
            }
            _ => self.create_monitor(),
        }
    }

    /// Systems are onboarded with their first stewards and a connection, in one transaction.
    fn create_system(&mut self) -> Change {
        let system = self.systems;
        self.systems += 1;
        let create = Operation::CreateSystem { system_id: names::system(system) };
        if self.connections == 0 || self.random.percent(40) {
            return Change::One(create);
        }
        let mut ops = vec![create];
        let connection = self.random.below(self.connections);
        ops.push(self.link(system, connection));
        for _ in 0..=self.random.below(3) {
            let user = self.random.skewed(self.users);
            ops.push(self.add_steward(system, user));
        }
        Change::transaction(ops, false)
    }

    fn create_monitor(&mut self) -> Change {
        self.monitors += 1;
        Change::One(Operation::CreateMonitor {
            key: names::monitor(self.monitors - 1),
            connection_config_id: self.some_connection(),
            inherit_system_stewards: self.random.percent(70),
        })
    }

    fn happen(&mut self) -> Change {
        if self.random.percent(7) {
            return self.transaction();
        }
        Change::One(self.operation())
    }

    /// Several operations at once; now and then it is called off. What is called off leaves no
    /// trace, so it is made up with a copy of the organisation.
    fn transaction(&mut self) -> Change {
        let rollback = self.random.percent(25);
        let count = 2 + self.random.below(5);
        if rollback {
            let before = (self.stewards.clone(), self.links.clone(), self.explicit.clone());
            let ops = (0..count).map(|_| self.operation()).collect();
            (self.stewards, self.links, self.explicit) = before;
            return Change::transaction(ops, true);
        }
        Change::transaction((0..count).map(|_| self.operation()).collect(), false)
    }

    fn operation(&mut self) -> Operation {
        match self.random.below(100) {
            0..30 => self.complete(),
            30..50 => {
                let (system, user) =
                    (self.random.below(self.systems), self.random.skewed(self.users));
                self.add_steward(system, user)
            }
            50..62 => self.remove_steward(),
            62..66 => self.set_managed_systems(),
            66..73 => {
                let (system, connection) =
                    (self.random.below(self.systems), self.random.below(self.connections));
                self.link(system, connection)
            }
            73..79 => self.unlink(),
            79..86 => Operation::SetInheritance {
                key: self.some_monitor(),
                enabled: self.random.percent(65),
            },
            86..92 => Operation::ReassignConnection {
                key: self.some_monitor(),
                connection_config_id: self.some_connection(),
            },
            92..97 => {
                let (monitor, user) =
                    (self.random.below(self.monitors), self.random.below(self.users));
                self.explicit.insert(monitor, user);
                let (key, user_id) = (names::monitor(monitor), names::user(user));
                Operation::AddExplicitSteward { key, user_id }
            }
            _ => {
                let (monitor, user) =
                    self.explicit.remove(&mut self.random, self.monitors, self.users);
                let (key, user_id) = (names::monitor(monitor), names::user(user));
                Operation::RemoveExplicitSteward { key, user_id }
            }
        }
    }

    fn complete(&mut self) -> Operation {
        let monitor = self.random.skewed(self.monitors);
        let operation_type = (*self.random.pick(&names::OPERATION_TYPES)).to_owned();
        Operation::Complete { key: names::monitor(monitor), operation_type }
    }

    fn add_steward(&mut self, system: usize, user: usize) -> Operation {
        self.stewards.insert(system, user);
        Operation::AddSteward { system_id: names::system(system), user_id: names::user(user) }
    }

    fn remove_steward(&mut self) -> Operation {
        let (system, user) = self.stewards.remove(&mut self.random, self.systems, self.users);
        Operation::RemoveSteward { system_id: names::system(system), user_id: names::user(user) }
    }

    /// Somebody takes over, or leaves.
    fn set_managed_systems(&mut self) -> Operation {
        let user = self.random.skewed(self.users);
        self.stewards.0.retain(|(_, steward)| *steward != user);
        let mut system_ids = Vec::new();
        for _ in 0..self.random.below(8) {
            let system = self.random.below(self.systems);
            if self.stewards.insert(system, user) {
                system_ids.push(names::system(system));
            }
        }
        Operation::SetManagedSystems { user_id: names::user(user), system_ids }
    }

    fn link(&mut self, system: usize, connection: usize) -> Operation {
        self.links.insert(system, connection);
        Operation::Link {
            system_id: names::system(system),
            connection_config_id: names::connection(connection),
        }
    }

    fn unlink(&mut self) -> Operation {
        let (system, connection) =
            self.links.remove(&mut self.random, self.systems, self.connections);
        Operation::Unlink {
            system_id: names::system(system),
            connection_config_id: names::connection(connection),
        }
    }

    fn some_monitor(&mut self) -> String {
        names::monitor(self.random.below(self.monitors))
    }

    fn some_connection(&mut self) -> Option<String> {
        let connection = self.random.below(self.connections);
        (!self.random.percent(8)).then(|| names::connection(connection))
    }
}

/// Which things belong together.
#[derive(Default, Clone)]
struct Pairs(Vec<(usize, usize)>);

impl Pairs {
    /// Whether it is new.
    fn insert(&mut self, left: usize, right: usize) -> bool {
        let new = !self.0.contains(&(left, right));
        if new {
            self.0.push((left, right));
        }
        new
    }

    /// Takes out one of the pairs. Sometimes names one that is not there: people do that, too.
    fn remove(&mut self, random: &mut Random, lefts: usize, rights: usize) -> (usize, usize) {
        if self.0.is_empty() || random.percent(12) {
            let pair = (random.below(lefts), random.below(rights));
            self.0.retain(|there| *there != pair);
            return pair;
        }
        let at = random.below(self.0.len());
        self.0.swap_remove(at)
    }
}
