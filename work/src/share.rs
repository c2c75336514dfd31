//! Which units are whose.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// The most workers.
const MOST: usize = 100_000;

/// One of several equal workers, written `2/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which worker, from 0.
    pub index: usize,
    /// How many there are, at least 1.
    pub of: usize,
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(index, of)| Some((index.parse::<usize>().ok()?, of.parse::<usize>().ok()?)));
        match numbers {
            Some((index, of)) if index >= 1 && index <= of && of <= MOST => Ok(Self { index: index - 1, of }),
            _ => Err(format!(
                "expected a part and their number, 1/4 to 4/4, and at most {MOST} parts"
            )),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.index + 1, self.of)
    }
}

/// The units of a share: neighbours in the list, so that units of one group stay together, and about as much of the cost as
/// every other share has. A unit belongs to the share in which the middle of its cost lies.
///
/// `costs` are in any unit of measure; where all are 0 or one is not a number, every unit counts the same.
pub fn deal(costs: &[f64], share: Share) -> Range<usize> {
    let total: f64 = costs.iter().sum();
    let is_usable = total > 0.0 && total.is_finite() && costs.iter().all(|cost| *cost >= 0.0);
    let (mut before, mut places) = (0.0, Vec::with_capacity(costs.len()));
    let total = if is_usable { total } else { costs.len() as f64 };
    for &cost in costs {
        let cost = if is_usable { cost } else { 1.0 };
        let place = ((before + cost / 2.0) / total * share.of as f64) as usize;
        places.push(place.min(share.of - 1));
        before += cost;
    }
    places.partition_point(|place| *place < share.index)..places.partition_point(|place| *place <= share.index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_units_are_dealt_equally() {
        for (units, of) in [(8, 8), (6, 3), (1000, 8), (7, 7), (12_345, 64)] {
            let costs = vec![0.1; units];
            let sizes: Vec<usize> = (0..of).map(|index| deal(&costs, Share { index, of }).len()).collect();
            assert_eq!(sizes.iter().sum::<usize>(), units);
            assert!(
                sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1,
                "{sizes:?}"
            );
        }
        // As many units as shares: share i has unit i.
        assert!((0..1000).all(|index| deal(&[1.0; 1000], Share { index, of: 1000 }) == (index..index + 1)));
    }

    #[test]
    fn dear_units_count_more() {
        let costs = [7.0, 7.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let shares: Vec<_> = (0..3).map(|index| deal(&costs, Share { index, of: 3 })).collect();
        assert_eq!(shares, [0..1, 1..2, 2..9]);
    }

    #[test]
    fn shares_are_written_as_they_are_read() {
        assert_eq!("2/8".parse(), Ok(Share { index: 1, of: 8 }));
        assert_eq!(Share { index: 1, of: 8 }.to_string(), "2/8");
        for wrong in ["0/2", "3/2", "2", "a/b", "1/0", "", "1/100001"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_unit_belongs_to_one_share(costs in prop::collection::vec(prop_oneof![Just(0.0), 1e-9..1e9f64], 0..60), of in 1usize..20) {
            let mut next = 0;
            for index in 0..of {
                let range = deal(&costs, Share { index, of });
                prop_assert!(range.is_empty() || range.start == next);
                next = next.max(range.end);
            }
            prop_assert_eq!(next, costs.len());
        }

        #[test]
        fn no_share_has_more_than_its_part_and_a_unit(costs in prop::collection::vec(0.01..100.0f64, 1..60), of in 1usize..20) {
            let (total, largest) = (costs.iter().sum::<f64>(), costs.iter().copied().fold(0.0, f64::max));
            for index in 0..of {
                let own: f64 = costs[deal(&costs, Share { index, of })].iter().sum();
                prop_assert!(own <= total / of as f64 + largest + 1e-6);
            }
        }
    }
}
