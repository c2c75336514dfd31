//! From many kept nodes to a few sites.
//!
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)) edit at six cross-sections; the rule
//! here keeps the number of sites small without looking at any dictionary.

use super::{Candidate, LocateConfig};
use crate::site::restart_layer;
use tasks::{Attribute, Role};

/// A residual stream may change this share of predictions less than the strongest of its kind and still stand for it.
const AS_STRONG: f64 = 0.05;

/// Reduces the kept candidates to at most `max_sites`, deterministically.
///
/// Ranked by [`Candidate::strength`], then by the removed share, then by node. First the strongest head outputs, up to
/// `max_head_sites`; then, for each attribute that no chosen node keeps, the strongest node that keeps it; then, for each
/// attribute and role, the earliest residual stream that is about as strong as the strongest one: once an attribute has come to a
/// position it is found in every later layer, and where it comes from is what one wants to know; then the strongest of the rest.
/// The result is in the order of the model.
pub(super) fn choose<'a>(
    measured: &'a [Candidate],
    attributes: &[Attribute],
    config: &LocateConfig,
) -> Vec<&'a Candidate> {
    let mut ranked: Vec<&Candidate> = measured.iter().filter(|candidate| !candidate.kept.is_empty()).collect();
    ranked.sort_by(|a, b| {
        let strength = b.strength().total_cmp(&a.strength());
        let removed = b.removed.unwrap_or(0.0).total_cmp(&a.removed.unwrap_or(0.0));
        strength.then(removed).then(a.node.cmp(&b.node))
    });
    let mut chosen: Vec<&Candidate> = ranked
        .iter()
        .copied()
        .filter(|candidate| candidate.node.head.is_some())
        .take(config.max_head_sites)
        .collect();
    for attribute in attributes {
        let keeps = |candidate: &&&Candidate| candidate.kept.contains(attribute);
        if chosen.iter().find(keeps).is_none() {
            chosen.extend(ranked.iter().find(keeps).copied());
        }
    }
    for candidate in earliest_streams(&ranked).into_iter().chain(ranked) {
        if chosen.len() < config.max_sites && !chosen.iter().any(|known| known.node == candidate.node) {
            chosen.push(candidate);
        }
    }
    chosen.sort_by_key(|candidate| (restart_layer(&candidate.node).unwrap_or(usize::MAX), candidate.node));
    chosen
}

/// For each attribute and role the earliest residual stream that is about as strong as the strongest, the strongest first.
fn earliest_streams<'a>(ranked: &[&'a Candidate]) -> Vec<&'a Candidate> {
    let mut kinds: Vec<(Attribute, Role)> = Vec::new();
    let streams = || ranked.iter().copied().filter(|candidate| candidate.node.head.is_none());
    for stream in streams() {
        let of_stream = stream.kept.iter().map(|attribute| (*attribute, stream.node.role));
        let new: Vec<_> = of_stream.filter(|kind| !kinds.contains(kind)).collect();
        kinds.extend(new);
    }
    let earliest = |(attribute, role): (Attribute, Role)| {
        let of_kind = || streams().filter(move |stream| stream.node.role == role && stream.kept.contains(&attribute));
        let strongest = of_kind().map(|stream| stream.changed[&attribute]).fold(0.0, f64::max);
        of_kind()
            .filter(|stream| stream.changed[&attribute] >= strongest - AS_STRONG)
            .min_by_key(|stream| restart_layer(&stream.node).unwrap_or(usize::MAX))
    };
    kinds.into_iter().filter_map(earliest).collect()
}

#[cfg(test)]
mod tests {
    use super::super::LocateFile;
    use super::*;
    use std::collections::BTreeMap;

    const ATTRIBUTES: [Attribute; 3] = [Attribute::IO, Attribute::S, Attribute::POS];

    fn candidate(name: &str, changed: [f64; 3], removed: f64) -> Candidate {
        let changed: BTreeMap<_, _> = ATTRIBUTES.into_iter().zip(changed).collect();
        let kept = changed
            .iter()
            .filter(|(_, share)| **share >= 0.1)
            .map(|(attribute, _)| *attribute)
            .collect();
        Candidate {
            node: name.parse().unwrap(),
            changed,
            removed: Some(removed),
            trivial: Vec::new(),
            kept,
        }
    }

    #[test]
    fn heads_first_and_every_attribute_represented() {
        let measured = [
            candidate("blocks.1.hook_resid_pre@END", [0.9, 0.8, 0.0], 0.9),
            candidate("blocks.2.hook_resid_pre@END", [0.8, 0.7, 0.0], 0.9),
            candidate("blocks.1.attn.hook_z.0@END", [0.3, 0.0, 0.0], 0.5),
            candidate("blocks.1.attn.hook_z.1@END", [0.2, 0.0, 0.0], 0.5),
            candidate("blocks.3.hook_resid_pre@S2", [0.0, 0.0, 0.15], 0.2),
            candidate("blocks.3.hook_resid_pre@END", [0.7, 0.0, 0.0], 0.2),
            candidate("blocks.0.attn.hook_z.0@S2", [0.0, 0.0, 0.0], 0.9),
        ];
        let file = LocateFile {
            max_sites: 4,
            max_head_sites: 1,
            ..LocateFile::default()
        };
        let chosen = choose(&measured, &ATTRIBUTES, &file.try_into().unwrap());
        let names: Vec<String> = chosen.iter().map(|candidate| candidate.node.to_string()).collect();
        let expected = [
            "blocks.1.hook_resid_pre@END",
            "blocks.1.attn.hook_z.0@END",
            "blocks.2.hook_resid_pre@END",
            "blocks.3.hook_resid_pre@S2",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn of_streams_as_strong_as_each_other_the_earliest_stands_for_all() {
        let measured = [
            candidate("blocks.4.hook_resid_pre@END", [0.5, 0.0, 0.0], 0.4),
            candidate("blocks.5.hook_resid_pre@END", [0.96, 0.0, 0.0], 0.9),
            candidate("blocks.6.hook_resid_pre@END", [1.0, 0.0, 0.0], 1.0),
            candidate("blocks.7.hook_resid_pre@END", [0.98, 0.0, 0.0], 1.0),
            candidate("blocks.1.hook_resid_pre@S2", [0.0, 0.0, 0.3], 0.2),
            candidate("blocks.2.attn.hook_z.1@END", [0.3, 0.2, 0.2], 0.5),
        ];
        let file = LocateFile {
            max_sites: 4,
            max_head_sites: 1,
            ..LocateFile::default()
        };
        let chosen = choose(&measured, &ATTRIBUTES, &file.try_into().unwrap());
        let names: Vec<String> = chosen.iter().map(|candidate| candidate.node.to_string()).collect();
        let expected = [
            "blocks.1.hook_resid_pre@S2",
            "blocks.2.attn.hook_z.1@END",
            "blocks.5.hook_resid_pre@END",
            "blocks.6.hook_resid_pre@END",
        ];
        assert_eq!(names, expected);
    }
}
