//! Families of predicates: what can be said of a prompt, for describing latents.

use std::fmt;
use std::sync::Arc;

use crate::by_attribute::Labels;

type Holds = Arc<dyn Fn(&Labels) -> [Option<usize>; 2] + Send + Sync>;

/// A family of predicates; of a prompt at most two hold.
#[derive(Clone)]
pub struct Family {
    /// Name in reports.
    pub name: String,
    /// Number of predicates, `P`.
    pub n: usize,
    /// Whether predicates of the family may be joined: "IO is Anna or Paul or ...".
    pub unions: bool,
    holds: Holds,
}

impl Family {
    /// A family of `n` predicates; those of more than two may be joined.
    pub(crate) fn new(
        name: impl Into<String>,
        n: usize,
        holds: impl Fn(&Labels) -> [Option<usize>; 2] + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            n,
            unions: n > 2,
            holds: Arc::new(holds),
        }
    }

    /// The predicates that hold.
    pub fn holding(&self, labels: &Labels) -> impl Iterator<Item = usize> + use<> {
        (self.holds)(labels).into_iter().flatten()
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("name", &self.name)
            .field("n", &self.n)
            .finish_non_exhaustive()
    }
}
