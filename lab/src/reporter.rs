//! What a stage says while it runs, and to whom.

/// Who is told what a stage does: a program that prints, or nobody ([`Silent`]).
pub trait Reporter: Send + Sync {
    /// A remark of one line: what begins and what it will cost, what was left out, where something was written.
    fn note(&self, text: &str);

    /// A bar of `total` steps named `what`; `total` may be 0 and be said later.
    fn bar(&self, what: &str, total: usize) -> Box<dyn Bar>;

    /// A bar with room for lines below it ([`Bar::line`]).
    fn group(&self, what: &str, total: usize) -> Box<dyn Bar>;
}

/// How far something is.
pub trait Bar: Send + Sync {
    /// Says how many steps there are.
    fn set_length(&self, total: u64);

    /// Says how many steps are done.
    fn set_position(&self, done: u64);

    /// So many more steps are done.
    fn inc(&self, steps: u64);

    /// What stands on a line of its own.
    fn set_message(&self, text: String);

    /// One more line below a bar of a group; it shows its message.
    fn line(&self) -> Box<dyn Bar>;

    /// The end: the bar goes.
    fn finish_and_clear(&self);
}

/// A reporter to whom nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn note(&self, _: &str) {}

    fn bar(&self, _: &str, _: usize) -> Box<dyn Bar> {
        Box::new(Self)
    }

    fn group(&self, _: &str, _: usize) -> Box<dyn Bar> {
        Box::new(Self)
    }
}

impl Bar for Silent {
    fn set_length(&self, _: u64) {}
    fn set_position(&self, _: u64) {}
    fn inc(&self, _: u64) {}
    fn set_message(&self, _: String) {}

    fn line(&self) -> Box<dyn Bar> {
        Box::new(Self)
    }

    fn finish_and_clear(&self) {}
}
