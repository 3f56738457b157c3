//! Stake told plainly: who has which lot of tokens where, slashed one by one and paid one by one.
//!
//! There are no shares and no marks here, and amounts are floating: what the ledger rounds, this does not.

/// Stake of one origin that somebody has at a validator, or that is on its way back from there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lot {
    pub(super) owner: usize,
    pub(super) validator: usize,
    pub(super) amount: f64,
    /// What it has earned and was not paid yet.
    reward: f64,
    /// Where it came from, at which height, and until when it answers for that.
    came: Option<(usize, u64, u64)>,
}

/// Lots that left a validator together.
#[derive(Debug, Clone)]
struct Waiting {
    lots: Vec<Lot>,
    since: u64,
    completes: u64,
}

/// When a validator signed twice, when it was punished, by height and time, and what that took.
#[derive(Debug, Clone, Copy)]
struct Offence {
    height: u64,
    punished: (u64, u64),
    kept: f64,
}

/// All stake there is.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) balances: Vec<f64>,
    pub(super) lots: Vec<Lot>,
    waiting: Vec<Waiting>,
    pub(super) commissions: Vec<f64>,
    offences: Vec<Option<Offence>>,
    pub(super) fees: f64,
    pub(super) supply: f64,
    pub(super) height: u64,
    pub(super) time: u64,
}

impl Model {
    pub(super) fn new(balances: Vec<f64>, validators: usize) -> Self {
        let supply = balances.iter().sum();
        Self { balances, commissions: vec![0.0; validators], offences: vec![None; validators], supply, ..Self::default() }
    }

    /// What somebody has at a validator.
    pub(super) fn at(&self, owner: usize, validator: usize) -> f64 {
        self.lots.iter().filter(|lot| (lot.owner, lot.validator) == (owner, validator)).map(|lot| lot.amount).sum()
    }

    /// What everybody has at a validator.
    pub(super) fn bonded(&self, validator: usize) -> f64 {
        self.lots.iter().filter(|lot| lot.validator == validator).map(|lot| lot.amount).sum()
    }

    pub(super) fn pay_fee(&mut self, who: usize, fee: f64) {
        self.balances[who] -= fee;
        self.fees += fee;
    }

    /// Tokens of nobody become stake: what a genesis begins with.
    pub(super) fn found(&mut self, owner: usize, validator: usize, amount: f64) {
        self.supply += amount;
        self.lots.push(Lot { owner, validator, amount, reward: 0.0, came: None });
    }

    pub(super) fn delegate(&mut self, owner: usize, validator: usize, amount: f64) {
        self.touch(owner, validator);
        self.balances[owner] -= amount;
        self.lots.push(Lot { owner, validator, amount, reward: 0.0, came: None });
    }

    pub(super) fn undelegate(&mut self, owner: usize, validator: usize, amount: f64, unbonding_ms: u64) {
        self.touch(owner, validator);
        let lots = self.take(owner, validator, amount);
        self.waiting.push(Waiting { lots, since: self.height, completes: self.time + unbonding_ms });
    }

    pub(super) fn redelegate(&mut self, owner: usize, from: usize, to: usize, amount: f64, unbonding_ms: u64) {
        self.touch(owner, from);
        self.touch(owner, to);
        let came = Some((from, self.height, self.time + unbonding_ms));
        let lots = self.take(owner, from, amount);
        assert!(lots.iter().all(|lot| lot.came.is_none()), "stake that still answers for another validator moved on");
        self.lots.extend(lots.into_iter().map(|lot| Lot { validator: to, came, ..lot }));
    }

    pub(super) fn withdraw(&mut self, owner: usize, validator: usize, operator: bool) {
        self.touch(owner, validator);
        if operator {
            self.balances[owner] += std::mem::take(&mut self.commissions[validator]);
        }
    }

    pub(super) fn slash(&mut self, validator: usize, kept: f64) {
        for lot in self.lots.iter_mut().filter(|lot| lot.validator == validator) {
            self.supply -= lot.amount * (1.0 - kept);
            lot.amount *= kept;
        }
    }

    /// Whether it is the first time.
    pub(super) fn signs_twice(&mut self, validator: usize, height: u64, kept: f64) -> bool {
        let first = self.offences[validator].is_none();
        if first {
            self.slash(validator, kept);
            self.offences[validator] = Some(Offence { height, punished: (self.height, self.time), kept });
        }
        first
    }

    /// Pays what has waited long enough, after what it still answers for.
    pub(super) fn complete(&mut self) {
        let (over, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.completes <= self.time);
        self.waiting = waiting;
        for Waiting { lots, since, completes } in over {
            for lot in lots {
                let came = lot.came.map_or(1.0, |(from, since, until)| self.kept(from, since, until));
                let paid = lot.amount * came * self.kept(lot.validator, since, completes);
                self.supply -= lot.amount - paid;
                self.balances[lot.owner] += paid;
            }
        }
    }

    /// Shares out fees and `minted` tokens by `powers`, with each validator's commission.
    pub(super) fn distribute(&mut self, minted: f64, powers: &[(usize, f64, f64)]) {
        self.supply += minted;
        let pot = std::mem::take(&mut self.fees) + minted;
        let power: f64 = powers.iter().map(|(_, power, _)| power).sum();
        for (validator, own, commission) in powers {
            let amount = pot * own / power;
            self.commissions[*validator] += amount * commission;
            let bonded = self.bonded(*validator);
            for lot in self.lots.iter_mut().filter(|lot| lot.validator == *validator) {
                lot.reward += amount * (1.0 - commission) * lot.amount / bonded;
            }
        }
    }

    /// The rules say that whatever touches stake takes first what it owes and pays what it has earned.
    fn touch(&mut self, owner: usize, validator: usize) {
        let mut lots = std::mem::take(&mut self.lots);
        for lot in lots.iter_mut().filter(|lot| (lot.owner, lot.validator) == (owner, validator)) {
            if let Some((from, since, until)) = lot.came {
                let kept = self.kept(from, since, until);
                self.supply -= lot.amount * (1.0 - kept);
                self.fees += lot.reward * (1.0 - kept);
                lot.amount *= kept;
                lot.reward *= kept;
                if kept < 1.0 || until < self.time {
                    lot.came = None;
                }
            }
            self.balances[owner] += std::mem::take(&mut lot.reward);
        }
        self.lots = lots;
    }

    /// What is left of stake that was at a validator until `since` and answers for it until `until`.
    fn kept(&self, validator: usize, since: u64, until: u64) -> f64 {
        match self.offences[validator] {
            Some(Offence { height, punished: (at, time), kept }) if height <= since + 1 && since < at && time <= until => kept,
            _ => 1.0,
        }
    }

    /// Takes out of somebody's lots: first what answers for nobody else, then what came earliest.
    fn take(&mut self, owner: usize, validator: usize, amount: f64) -> Vec<Lot> {
        let mut order: Vec<_> =
            (0..self.lots.len()).filter(|at| (self.lots[*at].owner, self.lots[*at].validator) == (owner, validator)).collect();
        order.sort_by_key(|at| self.lots[*at].came.map_or(0, |(_, since, _)| since + 1));
        let (mut left, mut taken) = (amount, Vec::new());
        for at in order {
            let lot = &mut self.lots[at];
            let part = lot.amount.min(left);
            (lot.amount, left) = (lot.amount - part, left - part);
            taken.push(Lot { amount: part, ..*lot });
        }
        self.lots.retain(|lot| lot.amount > 1e-6);
        taken
    }
}
