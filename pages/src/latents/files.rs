//! The files of a page of latents.
//!
//! Each data file is one call, `saelabIndex(...)` or `saelabChunk(...)`, of one JSON value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::contexts::{BINS_PER_OCTAVE, Context, LatentContexts, bin_start};
use super::measure::{Found, Latent, Source, Subject};
use super::{CHUNK, INDEX, PAGE, shell_of};
use crate::{Error, text};

const INDEX_CALL: &str = "saelabIndex(";
const CHUNK_CALL: &str = "saelabChunk(";
const END: &str = ");\n";

/// Contexts of each kind that are shown.
const TOP: usize = 12;
const RANDOM: usize = 6;
const QUANTILES: usize = 4;
const OF_QUANTILE: usize = 3;
/// Tokens by which a latent is found.
const FOUND_BY: usize = 4;

/// Names of tokens, each once.
struct Words<'a> {
    source: &'a Source<'a>,
    all: Vec<String>,
    places: BTreeMap<u32, usize>,
}

impl<'a> Words<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        Self {
            source,
            all: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    fn place(&mut self, id: u32) -> usize {
        let (source, all) = (self.source, &mut self.all);
        *self.places.entry(id).or_insert_with(|| {
            all.push(text::token(&name(source, id)));
            all.len() - 1
        })
    }
}

/// A token as text; one that is no text by its number.
pub(super) fn name(source: &Source<'_>, id: u32) -> String {
    source.tokenizer.decode(&[id]).unwrap_or_else(|_| format!("[{id}]"))
}

/// Four significant digits: what a page shows.
fn short(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// Writes the page of a dictionary into `out`, whose former contents are replaced; returns the page's path.
///
/// # Errors
///
/// A folder that cannot be written to.
pub fn write(found: &Found, subject: &Subject<'_>, source: &Source<'_>, out: &Path) -> Result<PathBuf, Error> {
    if out.exists() {
        artifacts::remove_folder(out)?;
    }
    std::fs::create_dir_all(out).map_err(|source| Error::List {
        path: out.to_owned(),
        source,
    })?;
    for (number, latents) in found.latents.chunks(CHUNK).enumerate() {
        let data = chunk(number, latents, source);
        put(&out.join(format!("{number:05}.js")), CHUNK_CALL, &data)?;
    }
    let page = out.join(PAGE);
    let html = shell_of(subject.set, subject.site);
    artifacts::write_atomic(&page, |file| file.write_all(html.as_bytes()))?;
    put(&out.join(INDEX), INDEX_CALL, &index(found, subject, source))?;
    Ok(page)
}

fn put(path: &Path, call: &str, data: &Value) -> Result<(), Error> {
    let data = text::json(data)?;
    Ok(artifacts::write_atomic(path, |file| write!(file, "{call}{data}{END}"))?)
}

/// What a data file holds, if it is one call with JSON and nothing else: such a script can do nothing but hand data over.
pub fn checked_data(path: &Path) -> Option<Vec<u8>> {
    let bytes = std::fs::read(path).ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    let inner = [INDEX_CALL, CHUNK_CALL]
        .iter()
        .find_map(|call| text.strip_prefix(call))?
        .strip_suffix(END)?;
    serde_json::from_str::<serde::de::IgnoredAny>(inner).ok()?;
    Some(bytes)
}

/// A line of every latent, as columns.
fn index(found: &Found, subject: &Subject<'_>, source: &Source<'_>) -> Value {
    let mut words = Words::new(source);
    let mut names: Vec<String> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut named = |name: &str| {
        *places.entry(name.to_owned()).or_insert_with(|| {
            names.push(text::shown(name));
            names.len() - 1
        })
    };
    let rows = found.rows.max(1) as f64;
    let mut columns: [Vec<Value>; 6] = Default::default();
    for latent in &found.latents {
        let contexts = &latent.contexts;
        let best = latent.predicates.first();
        let mut tokens: Vec<usize> = Vec::new();
        for context in &contexts.top {
            let token = focus(context, source).map(|id| words.place(id));
            if let Some(token) = token.filter(|token| !tokens.contains(token) && tokens.len() < FOUND_BY) {
                tokens.push(token);
            }
        }
        let row = [
            json!(short(contexts.active as f64 / rows)),
            json!(short(contexts.max.into())),
            json!(best.map(|(_, [_, _, f1])| short(*f1))),
            json!(best.map(|(name, _)| named(name))),
            json!(tokens),
            json!(latent.effect.map(|(change, _)| short(change))),
        ];
        columns
            .iter_mut()
            .zip(row)
            .for_each(|(column, value)| column.push(value));
    }
    let [rate, max, f1, best, tokens, effect] = columns;
    json!({
        "set": text::shown(subject.set), "site": text::shown(subject.site), "chunk": CHUNK, "rows": found.rows, "together": found.together,
        "supervised": subject.supervised.map(|(name, _)| text::shown(name)), "prompts": source.prompts, "bins": BINS_PER_OCTAVE,
        "words": words.all, "names": names,
        "rate": rate, "max": max, "f1": f1, "best": best, "tokens": tokens, "effect": effect,
    })
}

/// The token at which a latent is active.
fn focus(context: &Context, source: &Source<'_>) -> Option<u32> {
    source
        .windows
        .get(context.window as usize)?
        .ids
        .get(context.position as usize)
        .copied()
}

/// All that is shown of some latents.
fn chunk(number: usize, latents: &[Latent], source: &Source<'_>) -> Value {
    let mut words = Words::new(source);
    let latents: Vec<Value> = latents.iter().map(|latent| one(latent, source, &mut words)).collect();
    json!({ "chunk": number, "latents": latents, "words": words.all })
}

fn one(latent: &Latent, source: &Source<'_>, words: &mut Words<'_>) -> Value {
    let contexts = &latent.contexts;
    let mut shown = |all: &mut dyn Iterator<Item = &Context>| -> Vec<Value> {
        all.map(|context| in_words(context, source, words)).collect()
    };
    let mut top = shown(&mut contexts.top.iter());
    let mut texts: Vec<Value> = Vec::new();
    top.retain(|context| {
        let is_new = !texts.contains(&context[2]);
        if is_new {
            texts.push(context[2].clone());
        }
        is_new
    });
    top.truncate(TOP);
    let quantiles: Vec<Vec<Value>> = contexts
        .quantiles(QUANTILES, OF_QUANTILE)
        .into_iter()
        .rev()
        .map(|group| shown(&mut group.into_iter()))
        .collect();
    let random = shown(&mut contexts.sample.iter().take(RANDOM));
    let near = |all: &[(u32, f32)]| {
        all.iter()
            .map(|&(other, value)| json!([other, short(value.into())]))
            .collect::<Vec<_>>()
    };
    let mut ends = |all: &[(u32, f32)]| {
        all.iter()
            .map(|&(token, value)| json!([words.place(token), short(value.into())]))
            .collect::<Vec<_>>()
    };
    json!({
        "active": contexts.active, "mean": short(contexts.sum / contexts.active.max(1) as f64), "max": short(contexts.max.into()),
        "histogram": histogram(contexts), "top": top, "quantiles": quantiles, "random": random,
        "predicates": latent.predicates.iter().map(|(name, scores)| json!([text::shown(name), scores.map(short)])).collect::<Vec<_>>(),
        "logits": latent.logits.as_ref().map(|[raised, lowered]| json!([ends(raised), ends(lowered)])),
        "supervised": latent.supervised.as_ref().map(|(name, cosine)| json!([text::shown(name), short((*cosine).into())])),
        "decoder": near(&latent.decoder), "coactive": near(&latent.coactive),
        "effect": latent.effect.map(|(change, prompts)| json!([short(change), prompts])),
    })
}

/// Bins that are not empty and those between them: base-2 logarithm of where the first begins, and the counts.
fn histogram(contexts: &LatentContexts) -> Value {
    let filled = |count: &u32| *count > 0;
    match (
        contexts.histogram.iter().position(filled),
        contexts.histogram.iter().rposition(filled),
    ) {
        (Some(first), Some(last)) => json!([bin_start(first), contexts.histogram[first..=last]]),
        _ => Value::Null,
    }
}

/// A context: its value, the place of the active token, its tokens, and what is above 0 at which of them. The tokens behind the end of
/// the window are none.
fn in_words(context: &Context, source: &Source<'_>, words: &mut Words<'_>) -> Value {
    let tokens: Vec<usize> = source.tokens_of(context).iter().map(|&id| words.place(id)).collect();
    let active = context
        .values
        .iter()
        .enumerate()
        .filter(|(place, value)| **value > 0.0 && *place < tokens.len());
    let active: Vec<Value> = active
        .map(|(place, value)| json!([place, short((*value).into())]))
        .collect();
    json!([
        short(context.value.into()),
        context.position - context.start,
        tokens,
        active,
        context.window
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_are_more_than_data_are_not_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000.js");
        let hostile = json!({"words": ["</script><script>alert(1)</script>", "\u{2028}"]});
        put(&path, CHUNK_CALL, &hostile).unwrap();
        let written = String::from_utf8(checked_data(&path).unwrap()).unwrap();
        assert!(!written.contains('<') && written.ends_with(END));
        for text in [
            "saelabChunk({}); alert(1);\n",
            "alert(1);\n",
            "saelabChunk(alert(1));\n",
            "saelabChunk({});\nsaelabChunk({});\n",
            "saelabOther({});\n",
            "",
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(checked_data(&path), None, "{text}");
        }
    }
}
