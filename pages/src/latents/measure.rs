//! Everything that is measured of the latents of one dictionary, in one pass over activations.

use std::collections::BTreeSet;

use activations::store::TokenWindow;
use activations::{HookRows, Node, Store};
use eval::TaskDictionary;
use lm::{HookPoint, Model};
use supervised::SupervisedDictionary;
use tasks::{Sample, Task};
use text::Tokenizer;

use super::coactivation::Coactivation;
use super::contexts::{Context, Contexts, ContextsConfig, LatentContexts};
use super::predicates::Predicates;
use super::{effects, logits, neighbours};
use crate::Error;

/// Where a dictionary reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    /// One position of every prompt.
    Node(Node),
    /// All positions of a hook, or of one head of it.
    Hook(HookPoint, Option<usize>),
}

/// A dictionary whose latents are looked at.
pub struct Subject<'a> {
    /// Its name.
    pub set: &'a str,
    /// Name of the folder of its site.
    pub site: &'a str,
    /// Where it reads.
    pub place: Place,
    /// The hook that its directions are vectors of, which is another one for a transcoder.
    pub writes: HookPoint,
    /// The dictionary.
    pub dictionary: &'a TaskDictionary,
    /// A supervised dictionary of the same site, with its name.
    pub supervised: Option<(&'a str, &'a SupervisedDictionary)>,
}

/// What it is looked at on.
pub struct Source<'a> {
    /// Activations.
    pub store: &'a Store,
    /// The windows of tokens of the store, in its order.
    pub windows: &'a [TokenWindow],
    /// Names of tokens.
    pub tokenizer: &'a Tokenizer,
    /// The model, for logits and answers.
    pub model: &'a Model,
    /// The task of the prompts; none for text.
    pub task: Option<&'a dyn Task>,
    /// Prompts on which the effect on the answer is estimated.
    pub prompts: usize,
}

impl Source<'_> {
    /// The ids of the tokens of a context; fewer than its values where it reaches past the end of the window.
    pub(super) fn tokens_of(&self, context: &Context) -> &[u32] {
        let ids = self
            .windows
            .get(context.window as usize)
            .map_or(&[][..], |window| &window.ids);
        let start = (context.start as usize).min(ids.len());
        let end = (start + context.values.len()).min(ids.len());
        &ids[start..end]
    }
}

/// What was found of one latent.
#[derive(Debug, Clone, PartialEq)]
pub struct Latent {
    /// Contexts, histogram, rate.
    pub contexts: LatentContexts,
    /// Best predicates: name, precision, recall and F1 on the half of the prompts that had no part in the choice.
    pub predicates: Vec<(String, [f64; 3])>,
    /// Tokens whose logits its direction raises most, and lowers most; none where the direction does not write to the residual stream.
    pub logits: Option<[Vec<(u32, f32)>; 2]>,
    /// The supervised feature whose direction is nearest, and the cosine.
    pub supervised: Option<(String, f32)>,
    /// Latents with the nearest directions, and the cosines.
    pub decoder: Vec<(u32, f32)>,
    /// Latents that are active together with it most, and the Jaccard index.
    pub coactive: Vec<(u32, f32)>,
    /// Change of the logit difference when it is taken away, to first order: mean over the prompts on which it is active, and their
    /// number.
    pub effect: Option<(f64, usize)>,
}

/// What was found of a dictionary.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Rows that were looked at.
    pub rows: u64,
    /// Rows on which latents were counted together.
    pub together: u64,
    /// Each latent, `F`.
    pub latents: Vec<Latent>,
}

/// Measures all latents of a dictionary. `on_rows` is told how many rows are done.
///
/// # Errors
///
/// Activations that the store does not hold or that are damaged; a dictionary that does not fit them; whatever the model says.
pub fn measure(subject: &Subject<'_>, source: &Source<'_>, on_rows: &mut dyn FnMut(u64)) -> Result<Found, Error> {
    let dictionary = subject.dictionary;
    let n_latents = dictionary.n_latents();
    let config = match subject.place {
        // A prompt is short, and shown whole.
        Place::Node(_) => ContextsConfig {
            before: 40,
            after: 12,
            ..ContextsConfig::default()
        },
        Place::Hook(..) => ContextsConfig::default(),
    };
    let mut contexts = Contexts::new(n_latents, config);
    let mut together = Coactivation::new(n_latents);
    let mut predicates = source.task.map(|task| Predicates::new(task, n_latents));
    let mut pass = |rows: &HookRows| -> Result<(), Error> {
        if rows.width != dictionary.d_in() {
            return Err(Error::Latents {
                what: format!("{} at {}", subject.set, subject.site),
                reason: format!(
                    "it takes vectors of width {}, those of the store have {}; name the store that it was trained on",
                    dictionary.d_in(),
                    rows.width
                ),
            });
        }
        contexts.encode(dictionary, rows, &mut |rows, codes| {
            together.add(codes);
            if let Some(predicates) = &mut predicates {
                predicates.add(rows, codes);
            }
        });
        on_rows(contexts.rows());
        Ok(())
    };
    match subject.place {
        Place::Node(node) => pass(&source.store.node_rows(&node)?)?,
        Place::Hook(hook, head) => by_shard(source.store, hook, head, &mut pass)?,
    }
    let (rows, counted) = (contexts.rows(), together.rows());
    let directions = neighbours::Directions::of(dictionary);
    let of_logits = logits::direct(subject.writes, &directions, source.model)?;
    let nearest = match subject.supervised {
        Some((_, supervised)) => neighbours::supervised(&directions, supervised, source.task),
        None => vec![None; n_latents],
    };
    let effects = match (subject.place, source.task) {
        (Place::Node(node), Some(task)) if node.hook == subject.writes => {
            let prompts = task.sample(Sample::Evaluation, source.prompts, 0);
            effects::on_answer(node, dictionary, &directions, &prompts, source.model)?
        }
        _ => vec![None; n_latents],
    };
    let predicates = match predicates {
        Some(predicates) => predicates.best(),
        None => vec![Vec::new(); n_latents],
    };
    let (decoder, coactive) = (neighbours::decoder(&directions), together.nearest());
    let all = contexts
        .finish()
        .into_iter()
        .zip(predicates)
        .zip(of_logits)
        .zip(nearest)
        .zip(decoder)
        .zip(coactive)
        .zip(effects);
    let latents = all.map(
        |((((((contexts, predicates), logits), supervised), decoder), coactive), effect)| Latent {
            contexts,
            predicates,
            logits,
            supervised,
            decoder,
            coactive,
            effect,
        },
    );
    Ok(Found {
        rows,
        together: counted,
        latents: latents.collect(),
    })
}

/// Hands the rows of a hook over shard by shard; a window that goes on in the next shard waits for it.
fn by_shard(
    store: &Store,
    hook: HookPoint,
    head: Option<usize>,
    each: &mut dyn FnMut(&HookRows) -> Result<(), Error>,
) -> Result<(), Error> {
    let shards = store
        .manifest()
        .hooks
        .get(&hook)
        .map_or(1, |entry| entry.shards.len().max(1));
    let mut waiting: Option<HookRows> = None;
    for shard in 0..shards {
        let mut rows = store.shards_of(hook, head, &BTreeSet::from([shard]))?;
        if let Some(mut before) = waiting.take() {
            before.values.append(&mut rows.values);
            before.rows.append(&mut rows.rows);
            rows = before;
        }
        let last = rows.rows.last().map(|row| row.row);
        let whole = rows
            .rows
            .iter()
            .rposition(|row| Some(row.row) != last)
            .map_or(0, |place| place + 1);
        // In a shuffled store windows do not stand together, and nothing is gained by waiting.
        let is_whole_store = shard + 1 == shards || whole == 0 || rows.rows.len() - whole > 100_000;
        if !is_whole_store {
            waiting = Some(HookRows {
                width: rows.width,
                values: rows.values.split_off(whole * rows.width),
                rows: rows.rows.split_off(whole),
            });
        }
        each(&rows)?;
    }
    Ok(())
}
