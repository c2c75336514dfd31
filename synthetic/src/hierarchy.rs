//! The forest of features: which feature is a part of which other, and what that does to a row of activations.
//!
//! Every root has [`BRANCHING`] children and so on for [`DEPTH`] levels, numbered level by level over the whole forest; features
//! behind the last tree are free. A child is active only where its parent is, in proportion to it, and children of one parent
//! exclude each other. Law and constants are those of SynthSAEBench-16k (<https://arxiv.org/abs/2602.14687>,
//! `sae_lens.synthetic.hierarchy`).

use std::ops::Range;

/// Children of a parent.
pub const BRANCHING: usize = 4;
/// Levels below the roots.
pub const DEPTH: usize = 3;

/// A forest over the first features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hierarchy {
    features: usize,
    roots: usize,
}

/// An active feature of a row and its activation.
pub type Entry = (u32, f32);

impl Hierarchy {
    /// `roots` trees over at most `features` features; a last tree that does not fit is cut off.
    pub fn new(features: usize, roots: usize) -> Self {
        Self {
            features,
            roots: roots.min(features),
        }
    }

    /// The features of each level, roots first; together they are the features that are in a tree.
    pub fn levels(&self) -> Vec<Range<usize>> {
        let (mut start, mut size) = (0, self.roots);
        let mut levels = Vec::with_capacity(DEPTH + 1);
        for _ in 0..=DEPTH {
            let end = (start + size).min(self.features);
            levels.push(start..end);
            (start, size) = (end, size.saturating_mul(BRANCHING));
        }
        levels
    }

    /// Features in trees.
    pub fn in_trees(&self) -> usize {
        self.levels().last().map_or(0, |level| level.end)
    }

    /// The parent of a feature; none of roots and free features.
    pub fn parent(&self, feature: usize) -> Option<usize> {
        (self.roots..self.in_trees())
            .contains(&feature)
            .then(|| (feature - self.roots) / BRANCHING)
    }

    /// The children of a feature.
    pub fn children(&self, feature: usize) -> Range<usize> {
        let end = self.in_trees();
        let first = |feature: usize| (self.roots + feature * BRANCHING).min(end);
        match feature < end {
            true => first(feature)..first(feature + 1),
            false => end..end,
        }
    }

    /// Probabilities with which features are drawn so that, after [`Hierarchy::apply`], they are active about as often as `rates`
    /// say: a child's is divided by its parent's rate, and multiplied by one and the number of siblings that it meets. Approximate,
    /// and at most 1.
    pub fn compensated(&self, rates: &[f64]) -> Vec<f64> {
        let of = |feature: usize| {
            let rate = rates[feature];
            let Some(parent) = self.parent(feature) else {
                return rate;
            };
            let siblings: f64 = self.children(parent).map(|child| rates[child]).sum();
            let others = (siblings - rate).max(0.0);
            (rate / rates[parent] * (1.0 + others / rates[parent])).min(1.0)
        };
        (0..rates.len()).map(of).collect()
    }

    /// Takes out of a row, whose entries ascend and are positive, what the forest does not allow, and scales children by their
    /// parents: by the parent's activation over its mean, `means[parent]`.
    ///
    /// Of several children of an active parent one stays, `pick` says which: it is given the features and returns a place among them.
    pub fn apply(&self, row: &mut Vec<Entry>, means: &[f32], pick: &mut dyn FnMut(&[Entry]) -> usize) {
        let mut kept: Vec<Entry> = Vec::with_capacity(row.len());
        for siblings in row.chunk_by(|a, b| {
            let parent = self.parent(a.0 as usize);
            parent.is_some() && parent == self.parent(b.0 as usize)
        }) {
            let Some(parent) = self.parent(siblings[0].0 as usize) else {
                kept.extend(siblings);
                continue;
            };
            // Parents come before their children, so it is known what is left of them.
            let Ok(place) = kept.binary_search_by_key(&(parent as u32), |entry| entry.0) else {
                continue;
            };
            let chosen = match siblings.len() {
                1 => 0,
                _ => pick(siblings),
            };
            let (feature, activation) = siblings[chosen];
            let scaled = activation * (kept[place].1 / means[parent]);
            if scaled > 0.0 {
                kept.push((feature, scaled));
            }
        }
        *row = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels_of_the_16k_model() {
        let forest = Hierarchy::new(16_384, 128);
        let sizes: Vec<usize> = forest.levels().iter().map(Range::len).collect();
        assert_eq!(sizes, [128, 512, 2048, 8192]);
        assert_eq!((forest.in_trees(), 16_384 - forest.in_trees()), (10_880, 5_504));
        let parents = (0..16_384).filter(|&feature| !forest.children(feature).is_empty());
        assert_eq!(parents.count(), 2_688);
    }

    proptest! {
        #[test]
        fn parents_and_children_agree(features in 1usize..400, roots in 1usize..20) {
            let forest = Hierarchy::new(features, roots);
            for feature in 0..features {
                for child in forest.children(feature) {
                    prop_assert!(child > feature && child < features);
                    prop_assert_eq!(forest.parent(child), Some(feature));
                }
                if let Some(parent) = forest.parent(feature) {
                    prop_assert!(forest.children(parent).contains(&feature));
                }
            }
        }

        #[test]
        fn a_row_keeps_what_the_forest_allows(drawn in prop::collection::btree_map(0u32..60, 0.1f32..9.0, 0..40), seed in 0usize..97) {
            let forest = Hierarchy::new(60, 2);
            let means = vec![2.0; 60];
            let mut row: Vec<Entry> = drawn.clone().into_iter().collect();
            forest.apply(&mut row, &means, &mut |siblings| seed % siblings.len());
            let value = |feature: usize| row.iter().find(|entry| entry.0 as usize == feature).map(|entry| entry.1);
            prop_assert!(row.is_sorted_by_key(|entry| entry.0));
            for feature in 0..60 {
                let (now, before) = (value(feature), drawn.get(&(feature as u32)).copied());
                match forest.parent(feature) {
                    None => prop_assert_eq!(now, before),
                    Some(parent) => {
                        let among = forest.children(parent).filter(|&child| value(child).is_some()).count();
                        let drawn_among = forest.children(parent).filter(|&child| drawn.contains_key(&(child as u32))).count();
                        prop_assert_eq!(among, usize::from(value(parent).is_some() && drawn_among > 0));
                        if let (Some(now), Some(before), Some(parent)) = (now, before, value(parent)) {
                            prop_assert!((now - before * parent / 2.0).abs() < 1e-5);
                        }
                    }
                }
            }
        }
    }
}
