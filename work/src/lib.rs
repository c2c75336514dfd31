//! Work lists: the units of a job, dealt over processes and machines that share nothing but a folder.
//!
//! ```text
//! WORK/<stage>-<key>/plan.json     the units, which follow from the configs alone
//!                    00012.claim   who works on unit 12 now; grows by a byte every few seconds
//!                    00012.done    who finished it, and what that cost
//!                    00012.done-1  the same of a result that was then removed, or that is looked at again
//!                    00012.lost-1  the claim of a first attempt that ended without a word
//!                    00012.failed-1  a first attempt that ended with an error
//! ```
//!
//! * [`Share`], [`deal`]: worker 2 of 8, and the units that are its own: neighbours, about an eighth of the cost.
//! * [`WorkList`], [`Worker`]: a worker does its own units, then those that nobody works on.
//! * [`Stage`]: what is done, running, failed or waiting, and what it has cost.
//!
//! Claims save work; results do not depend on them. Whether a unit is done is asked of its result ([`Work::is_done`]), and a result
//! has to appear whole and at most once, so two workers on one unit are a waste and no fault. No clock of another machine is
//! trusted: a claim is dead when it has not grown while this process watched it for a minute, or when its process was on this machine and
//! has ended.

mod beat;
mod claim;
mod error;
mod list;
mod record;
mod share;
mod status;
mod worker;

pub use error::Error;
pub use list::{Unit, WorkList};
pub use record::Usage;
pub use share::{Share, deal};
pub use status::{Stage, State, UnitStatus};
pub use worker::{Outcome, Work, Worker};
