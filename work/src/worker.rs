//! A worker: one process that does units of a list until nothing is left for it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::beat::Beats;
use crate::claim::{Claim, Taken, Tried, Watched};
use crate::record::{Ended, Usage};
use crate::share::deal;
use crate::{Error, Share, Unit, WorkList};

/// Pause between two looks at the claims of others.
const LOOK: Duration = Duration::from_millis(500);

/// What units are, for the worker that does them.
pub trait Work {
    /// Why a unit was not done.
    type Error: From<Error> + std::error::Error;

    /// Whether the result of a unit is there.
    ///
    /// # Errors
    ///
    /// A result that cannot be looked at; the worker ends.
    fn is_done(&mut self, unit: &Unit) -> Result<bool, Self::Error>;

    /// Does units of one group. Their results must appear whole; where one is there already, of another worker, it stays.
    ///
    /// # Errors
    ///
    /// What went wrong; the worker goes on with other units.
    fn run(&mut self, units: &[&Unit]) -> Result<(), Self::Error>;
}

/// How a worker has ended.
#[derive(Debug)]
pub struct Outcome<E> {
    /// Units that this worker has done.
    pub done: usize,
    /// Units of which it has failed.
    pub failed: usize,
    /// Units with which other workers are not finished.
    pub elsewhere: usize,
    /// The first error.
    pub error: Option<E>,
}

/// One process that does units.
#[derive(Debug)]
pub struct Worker<'l> {
    list: &'l WorkList,
    share: Share,
    helps: bool,
    usage: fn() -> Usage,
    beats: Beats,
    watched: Watched,
    /// Units that are done, as far as is known.
    known: BTreeSet<usize>,
    failed: BTreeSet<usize>,
}

impl<'l> Worker<'l> {
    pub(crate) fn new(list: &'l WorkList, share: Share, usage: fn() -> Usage) -> Result<Self, Error> {
        Ok(Self {
            list,
            share,
            helps: true,
            usage,
            beats: Beats::every(list.beat).map_err(|source| Error::io(&list.dir, source))?,
            watched: Watched::default(),
            known: BTreeSet::new(),
            failed: BTreeSet::new(),
        })
    }

    /// The same worker, which ends after its own units.
    pub fn own_only(self) -> Self {
        Self { helps: false, ..self }
    }

    /// The units of this worker's share.
    pub fn own(&self) -> Range<usize> {
        let costs: Vec<f64> = self.list.units.iter().map(|unit| unit.cost).collect();
        deal(&costs, self.share)
    }

    /// Does the units of this share, group by group, then, one by one, those of other shares that nobody works on. A claim that
    /// another process left behind is waited for until it is known to be dead; living ones are not.
    ///
    /// # Errors
    ///
    /// What of the list itself cannot be read or written, and [`Work::is_done`]; of failed units the outcome tells.
    pub fn run<W: Work>(mut self, work: &mut W) -> Result<Outcome<W::Error>, W::Error> {
        let own = self.own();
        let mut outcome = Outcome {
            done: 0,
            failed: 0,
            elsewhere: 0,
            error: None,
        };
        loop {
            let claims = self.claim_group(own.clone(), work)?;
            if claims.is_empty() {
                break;
            }
            self.carry_out(claims, work, &mut outcome)?;
        }
        let (all, start) = (self.list.units.len(), own.start);
        // From its own on, so that those who help begin at different places.
        let order: Vec<usize> = match self.helps {
            true => (0..all).map(|i| (start + i) % all).collect(),
            false => own.collect(),
        };
        loop {
            let (claim, quiet, alive) = self.claim_any(&order, work)?;
            match claim {
                Some(claim) => self.carry_out(vec![claim], work, &mut outcome)?,
                None if quiet > 0 => std::thread::sleep(LOOK.min(self.list.lease / 4)),
                None => {
                    outcome.elsewhere = alive;
                    return Ok(outcome);
                }
            }
        }
    }

    /// Claims the first unit that is not done, and with it all of its group.
    fn claim_group<W: Work>(&mut self, range: Range<usize>, work: &mut W) -> Result<Vec<Claim>, W::Error> {
        let mut claims: Vec<Claim> = Vec::new();
        for unit in range {
            let group = claims.first().map(|first| &self.list.units[first.unit].group);
            if group.is_some_and(|group| *group != self.list.units[unit].group) {
                break;
            }
            if let Some(Tried::Mine(claim)) = self.claim(unit, true, work)? {
                claims.push(claim);
            }
        }
        Ok(claims)
    }

    /// Claims the first of these units that is not done; also says how many have claims that are quiet and that are alive.
    fn claim_any<W: Work>(&mut self, order: &[usize], work: &mut W) -> Result<(Option<Claim>, usize, usize), W::Error> {
        let (own, mut quiet, mut alive) = (self.own(), 0, 0);
        for &unit in order {
            match self.claim(unit, own.contains(&unit), work)? {
                Some(Tried::Mine(claim)) => return Ok((Some(claim), quiet, alive)),
                Some(Tried::Taken(Taken::Quiet)) => quiet += 1,
                Some(Tried::Taken(Taken::Alive)) => alive += 1,
                None => {}
            }
        }
        Ok((None, quiet, alive))
    }

    /// Tries to claim a unit; `None` where there is nothing to do.
    fn claim<W: Work>(&mut self, unit: usize, is_own: bool, work: &mut W) -> Result<Option<Tried>, W::Error> {
        if self.known.contains(&unit) || self.failed.contains(&unit) {
            return Ok(None);
        }
        // What other shares have done is believed, what they have failed of is left to them.
        let recorded = self.list.file(unit, "done").exists();
        if !is_own && recorded {
            self.known.insert(unit);
            return Ok(None);
        }
        if !is_own && self.list.file(unit, "failed-1").exists() {
            return Ok(None);
        }
        let found = is_own && self.is_done(unit, recorded, work)?;
        if found && recorded {
            return Ok(None);
        }
        let tried = Claim::take(self.list, unit, &self.share.to_string(), &mut self.watched)?;
        let Tried::Mine(claim) = tried else {
            return Ok((!found).then_some(tried));
        };
        self.watched.forget(unit);
        // Another worker may have finished it just before.
        let recorded = self.list.file(unit, "done").exists();
        match self.is_done(unit, recorded, work) {
            Ok(false) => Ok(Some(Tried::Mine(claim))),
            // A worker was killed between a result and its record, or nobody ever wrote one.
            Ok(true) if !recorded => {
                claim.end(self.list, Ended::default())?;
                Ok(None)
            }
            Ok(true) => {
                claim.give_back(self.list)?;
                Ok(None)
            }
            Err(error) => {
                claim.give_back(self.list)?;
                Err(error)
            }
        }
    }

    /// Whether the result of a unit is there. The record of one that is gone is put aside: it was paid for.
    fn is_done<W: Work>(&mut self, unit: usize, recorded: bool, work: &mut W) -> Result<bool, W::Error> {
        let done = work.is_done(&self.list.units[unit])?;
        if done {
            self.known.insert(unit);
        } else if recorded {
            let path = self.list.file(unit, "done");
            let mut attempt = 1;
            while self.list.file(unit, &format!("done-{attempt}")).exists() {
                attempt += 1;
            }
            let aside = fs::rename(&path, self.list.file(unit, &format!("done-{attempt}")));
            aside.map_err(|source| Error::io(&path, source))?;
        }
        Ok(done)
    }

    /// Does the units of these claims together, and writes what became of them.
    fn carry_out<W: Work>(
        &mut self,
        claims: Vec<Claim>,
        work: &mut W,
        outcome: &mut Outcome<W::Error>,
    ) -> Result<(), W::Error> {
        let list = self.list;
        self.beats.hold(claims.iter().filter_map(Claim::handle).collect());
        let units: Vec<&Unit> = claims.iter().map(|claim| &list.units[claim.unit]).collect();
        let (start, before) = (Instant::now(), (self.usage)());
        let result = work.run(&units);
        let (seconds, after) = (start.elapsed().as_secs_f64(), (self.usage)());
        self.beats.hold(Vec::new());
        let total: f64 = units.iter().map(|unit| unit.cost).sum();
        let processor = after.processor_seconds.zip(before.processor_seconds);
        for claim in claims {
            let unit = claim.unit;
            let part = match total > 0.0 {
                true => list.units[unit].cost / total,
                false => 1.0 / units.len() as f64,
            };
            let ended = Ended {
                seconds: seconds * part,
                processor_seconds: processor.map(|(after, before)| (after - before) * part),
                peak_memory_mb: after.peak_memory_mb,
                error: result.as_ref().err().map(with_causes),
            };
            claim.end(list, ended)?;
            match result {
                Ok(()) => {
                    self.known.insert(unit);
                    outcome.done += 1;
                }
                Err(_) => {
                    self.failed.insert(unit);
                    outcome.failed += 1;
                }
            }
        }
        if let Err(error) = result {
            outcome.error.get_or_insert(error);
        }
        Ok(())
    }
}

/// The message of an error with those of its causes.
fn with_causes(error: &impl std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |message, cause| format!("{message}: {cause}"))
}
