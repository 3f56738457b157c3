//! One run: nodes, network and faults in one thread, by a clock that jumps from event to event.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use consensus::malachite::context::Zynk;
use malachite::app::consensus::Input;
use malachite::app::types::core::Timeout;

use crate::app::chain;
use crate::counts::Counts;
use crate::dice::Dice;
use crate::load::Load;
use crate::network::{Message, Network};
use crate::node::{Act, Node, Seen, Stop};
use crate::plan::{Plan, Role};
use crate::verify::Shared;
use crate::witness::Witness;

/// Within so many milliseconds after the storm every honest node has decided [`PROGRESS`] more heights.
const PATIENCE: u64 = 120_000;
const PROGRESS: u64 = 4;

/// How many of the last events a failed run shows.
const SHOWN: usize = 60;

enum Event {
    Hear {
        to: usize,
        from: usize,
        message: Message,
    },
    Feed {
        node: usize,
        life: u64,
        input: Box<Input<Zynk>>,
    },
    Wake {
        node: usize,
        life: u64,
        timeout: Timeout,
        number: u64,
    },
    /// A node looks around: says where it stands, and whether the next height may begin.
    Look {
        node: usize,
    },
    Start {
        node: usize,
    },
    Crash {
        node: usize,
        down: u64,
    },
    Part,
    Heal,
    Transaction,
    Calm,
    Deadline,
}

/// A run that did not go as it must.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    /// When, in simulated milliseconds.
    pub(crate) at: u64,
    pub(crate) what: String,
    /// The last events, if they were asked for.
    pub(crate) trace: Vec<String>,
}

/// The world of one run.
pub(crate) struct World {
    plan: Plan,
    dice: Dice,
    now: u64,
    order: u64,
    events: BTreeMap<(u64, u64), Event>,
    network: Network,
    nodes: Vec<Node>,
    /// How long each node is down when it crashes next.
    down: Vec<u64>,
    load: Load,
    witness: Witness,
    /// After the storm: the height that every honest node must pass.
    goal: Option<u64>,
    counts: Counts,
    trace: Option<VecDeque<String>>,
}

/// Runs a plan to its end.
pub(crate) fn run(plan: Plan, trace: bool) -> Result<Counts, Failure> {
    let shm = PathBuf::from("/dev/shm");
    let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    let folder = folder.expect("a folder for the guards");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let runtime = Arc::new(runtime);
    let verifier = Shared::new(chain().as_str().parse().expect("a chain id"));
    let node = |name| Node::new(&plan, name, folder.path(), verifier.clone(), Arc::clone(&runtime));
    let nodes: Vec<_> = (0..plan.nodes.len()).map(node).collect();
    let mut world = World {
        dice: Dice::new(!plan.seed),
        now: 0,
        order: 0,
        events: BTreeMap::new(),
        network: Network::new(&plan),
        down: vec![0; nodes.len()],
        witness: Witness::new(&plan, nodes[0].store.app.hash()),
        nodes,
        load: Load::default(),
        goal: None,
        counts: Counts { runs: 1, ..Counts::default() },
        trace: trace.then(VecDeque::new),
        plan,
    };
    world.prepare();
    match world.play() {
        Ok(()) => Ok(world.counts),
        Err(what) => {
            Err(Failure { seed: world.plan.seed, at: world.now, what, trace: world.trace.unwrap_or_default().into_iter().collect() })
        }
    }
}

impl World {
    fn prepare(&mut self) {
        for node in 0..self.nodes.len() {
            let start = self.dice.below(300);
            self.after(start, Event::Start { node });
            let look = self.dice.below(500);
            self.after(look, Event::Look { node });
        }
        for (at, lasts) in self.plan.partitions.clone() {
            self.after(at, Event::Part);
            self.after(at + lasts, Event::Heal);
        }
        for (at, node, down) in self.plan.crashes.clone() {
            self.after(at, Event::Crash { node, down });
        }
        self.after(100, Event::Transaction);
        self.after(self.plan.storm, Event::Calm);
        self.after(self.plan.storm + PATIENCE, Event::Deadline);
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.order += 1;
        self.events.insert((self.now + delay, self.order), event);
    }

    fn play(&mut self) -> Result<(), String> {
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            if matches!(event, Event::Deadline) {
                return Err(format!("STALL: {} ms after the storm: {}", PATIENCE, self.standing()));
            }
            self.happen(event)?;
            if self.goal.is_some_and(|goal| self.honest().all(|node| node.is_up() && node.store.tip() >= goal)) {
                self.counts.recovery_ms = self.now - self.plan.storm;
                self.counts.heights = self.honest().map(|node| node.store.tip()).max().unwrap_or(0);
                return Ok(());
            }
        }
        Err("nothing happens any more".to_owned())
    }

    fn honest(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.role == Role::Honest)
    }

    fn standing(&self) -> String {
        let one = |node: &Node| format!("node {} ({:?}) at height {}, {}", node.name, node.role, node.store.tip(), node.describe());
        self.nodes.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        let now = self.now;
        match event {
            Event::Hear { to, from, message } => {
                if self.nodes[to].is_up() {
                    if !matches!(message, Message::Transaction(_)) {
                        self.tell(|| format!("node {to} hears from {from}: {}", message.describe()));
                    }
                    self.act(to, |node| node.hear(from, message, now))?;
                }
            }
            Event::Feed { node, life, input } => {
                if self.nodes[node].life == life {
                    self.act(node, |node| node.take_input(*input, now))?;
                }
            }
            Event::Wake { node, life, timeout, number } => {
                if self.nodes[node].life == life {
                    self.tell(|| format!("node {node}: {timeout}"));
                    self.act(node, |node| node.wake(timeout, number, now))?;
                }
            }
            Event::Look { node } => {
                if self.nodes[node].is_up() {
                    self.nodes[node].status();
                    self.act(node, |_| Ok(()))?;
                }
                self.after(500, Event::Look { node });
            }
            Event::Start { node } => {
                self.tell(|| format!("node {node} starts"));
                self.act(node, |node| node.start(now))?;
            }
            Event::Crash { node, down } => {
                if self.nodes[node].is_up() && self.goal.is_none() {
                    let fuse = self.dice.below(40);
                    self.tell(|| format!("node {node} will crash after {fuse} effects"));
                    self.down[node] = down;
                    self.nodes[node].light_fuse(fuse);
                }
            }
            Event::Part => {
                self.tell(|| "the network parts".to_owned());
                self.counts.partitions += 1;
                self.network.part(&mut self.dice);
            }
            Event::Heal => self.network.heal(),
            Event::Transaction => self.submit(),
            Event::Calm => {
                self.tell(|| "the storm is over".to_owned());
                self.network.calm();
                for node in &mut self.nodes {
                    node.remove_fuse();
                }
                self.goal = Some(self.honest().map(|node| node.store.tip()).max().unwrap_or(0) + PROGRESS);
            }
            Event::Deadline => {}
        }
        Ok(())
    }

    /// Lets a node do something, and does to the world what came of it.
    fn act(&mut self, name: usize, what: impl FnOnce(&mut Node) -> Result<(), Stop>) -> Result<(), String> {
        let now = self.now;
        let done = what(&mut self.nodes[name]).and_then(|()| self.nodes[name].reconsider(now));
        let stopped = match done {
            Ok(()) => None,
            Err(Stop::Crashed) => {
                self.counts.crashes += 1;
                Some(self.down[name])
            }
            Err(Stop::Refused(why)) => {
                self.counts.refusals += 1;
                self.tell(|| format!("node {name} was refused a signature and ends: {why}"));
                Some(1_000)
            }
            // Whoever signs twice hears of its other votes from others, and may break of it.
            Err(Stop::Broken(_)) if self.nodes[name].role == Role::Equivocating => Some(2_000),
            Err(Stop::Broken(why)) => return Err(format!("node {name} broke: {why}")),
        };
        if let Some(down) = stopped {
            self.counts.lost_entries += self.nodes[name].crash(&mut self.dice) as u64;
            self.tell(|| format!("node {name} is down for {down} ms"));
            self.after(down, Event::Start { node: name });
        }
        for act in self.nodes[name].take_acts() {
            self.carry_out(name, act)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, name: usize, act: Act) -> Result<(), String> {
        let life = self.nodes[name].life;
        match act {
            Act::Feed(input, delay) => self.after(delay, Event::Feed { node: name, life, input }),
            Act::Wake(timeout, number, delay) => self.after(delay, Event::Wake { node: name, life, timeout, number }),
            Act::Seen(seen) => self.see(name, seen)?,
            _ if self.nodes[name].role == Role::Silent => {}
            Act::Tell(to, message) => self.send(name, to, message),
            Act::Say(message) => {
                for to in (0..self.nodes.len()).filter(|to| *to != name) {
                    self.send(name, to, message.clone());
                }
            }
            Act::Split(said) => {
                self.counts.equivocations += 1;
                for to in (0..self.nodes.len()).filter(|to| *to != name) {
                    let half = usize::from((to as u64 ^ self.plan.seed) & 1 == 0);
                    self.send(name, to, said[half].clone());
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        let copies = self.network.carry(&mut self.dice, from, to);
        match copies.len() {
            0 => self.counts.lost += 1,
            1 => self.counts.carried += 1,
            _ => self.counts.doubled += 1,
        }
        for delay in copies {
            self.after(delay, Event::Hear { to, from, message: message.clone() });
        }
    }

    fn see(&mut self, name: usize, seen: Seen) -> Result<(), String> {
        let honest = self.nodes[name].role == Role::Honest;
        match seen {
            Seen::Round(round) => {
                let height = self.nodes[name].store.next_height();
                self.tell(|| format!("node {name} begins round {round} of height {height}"));
                self.counts.later_rounds += u64::from(round > 0);
                self.counts.highest_round = self.counts.highest_round.max(round.into());
            }
            Seen::Signed(signed) if honest => {
                self.tell(|| format!("node {name} signs {}", signed.describe()));
                self.witness.signed(name, signed)?;
            }
            Seen::Decided(decided) if honest => {
                self.tell(|| format!("node {name} decides {} at height {}", decided.block.header.hash(), decided.block.header.height));
                self.counts.moves += decided.outcome.validator_updates.len() as u64;
                self.counts.accused += decided.block.evidence.iter().count() as u64;
                self.witness.decided(name, &decided)?;
                if !self.nodes[name].store.app.census_holds() {
                    return Err(format!("node {name}: tokens appeared or vanished"));
                }
            }
            Seen::Evidence(offenders) if honest => {
                self.counts.evidence += offenders.len() as u64;
                let innocent = |offender: &&tendermint::account::Id| {
                    !self.nodes.iter().any(|node| node.role == Role::Equivocating && node.address().0 == **offender)
                };
                if let Some(innocent) = offenders.iter().find(innocent) {
                    return Err(format!("node {name} has evidence against {innocent}, who is honest"));
                }
            }
            Seen::Replayed(entries) => self.counts.replayed += entries as u64,
            Seen::Signed(_) | Seen::Decided(_) | Seen::Evidence(_) => {}
        }
        Ok(())
    }

    /// Somebody sends a transaction to a node, and what is not through yet once more.
    fn submit(&mut self) {
        let next = self.dice.between(100, 600);
        self.after(next, Event::Transaction);
        let mut said = Vec::new();
        if self.goal.is_none() {
            said.push(self.load.next(&mut self.dice, &self.plan));
        }
        let done = |author: &types::Address| self.nodes.iter().map(|node| node.store.app.sequence(author)).max().unwrap_or(0);
        said.extend(self.load.again(done));
        for bytes in said {
            for _ in 0..2 {
                let to = self.dice.place(self.nodes.len());
                let delay = self.dice.between(1, 2_000);
                self.after(delay, Event::Hear { to, from: to, message: Message::Transaction(bytes.clone()) });
            }
        }
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            if trace.len() == SHOWN {
                trace.pop_front();
            }
            trace.push_back(format!("{:>7} ms  {}", self.now, what()));
        }
    }
}
