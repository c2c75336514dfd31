//! Whether the figures that `saelab quality` puts side by side are of the same dictionaries.

use std::path::Path;

use eval::Report;
use eval::report::REPORT;

use crate::Result;
use crate::splice::Spliced;
use crate::training_site::TrainingSite;
use crate::truth::Scored;

/// An autoencoder that a file has figures of, and the model that it was measured on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured<'a> {
    model: &'a str,
    dictionary: &'a str,
    /// The hook that it was trained at.
    site: &'a str,
    /// Hash of its files.
    identity: &'a str,
}

/// Refuses figures that are not of the autoencoders and the model of the report. Of what was trained at whole hooks `splice`
/// and `truth` have everything; the report has what stands at the hooks of its sites.
pub(super) fn check(run: &Path, report: &Report, spliced: &[Spliced], truth: &[Scored]) -> Result<()> {
    let of_splice = spliced.iter().map(|row| Measured {
        model: &row.model,
        dictionary: &row.dictionary,
        site: &row.site,
        identity: &row.identity,
    });
    let of_truth = truth.iter().filter_map(|row| {
        Some(Measured {
            model: &row.model,
            dictionary: &row.dictionary,
            site: &row.site,
            identity: row.identity.as_ref()?,
        })
    });
    let (of_splice, of_truth): (Vec<_>, Vec<_>) = (of_splice.collect(), of_truth.collect());
    for (command, measured) in [("splice", &of_splice), ("truth", &of_truth)] {
        if let Err(reason) = check_against(report, measured) {
            let path = run.join(format!("{command}.json"));
            bail!(
                "{}: {reason}; run `saelab {command}` and `saelab eval` again",
                path.display()
            );
        }
    }
    // The report says nothing of hooks at which it has no site.
    if let Some(Measured { dictionary, site, .. }) = of_splice.iter().find(|one| !of_truth.contains(one)) {
        bail!(
            "{}: {dictionary} at {site} is not the dictionary that splice.json is about; run `saelab splice` and `saelab truth` \
             again",
            run.join("truth.json").display()
        );
    }
    Ok(())
}

/// What does not fit between a report and the figures of one file.
fn check_against(report: &Report, measured: &[Measured<'_>]) -> Result<(), String> {
    for one in measured {
        let Measured { dictionary, site, .. } = one;
        if one.model != report.model.hash {
            return Err(format!(
                "{dictionary} was measured on another model than that of {REPORT}"
            ));
        }
        let known = report.dictionaries.iter().find(|facts| facts.name == *dictionary);
        let Some(known) = known else {
            return Err(format!("{dictionary} is not in {REPORT}"));
        };
        if known
            .folders
            .get(*site)
            .is_some_and(|identity| identity != one.identity)
        {
            return Err(format!(
                "{dictionary} at {site} is not the dictionary that {REPORT} is about"
            ));
        }
    }
    for facts in &report.dictionaries {
        let has = |site: &str| {
            measured
                .iter()
                .any(|one| (one.dictionary, one.site) == (&facts.name, site))
        };
        if let Some(site) = facts.folders.keys().find(|site| is_hook(site) && !has(site)) {
            return Err(format!("it lacks {} at {site}, which {REPORT} has", facts.name));
        }
    }
    Ok(())
}

/// Whether a folder of an autoencoder is that of a whole hook.
fn is_hook(folder: &str) -> bool {
    matches!(folder.parse(), Ok(TrainingSite::Hook(..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const HOOK: &str = "blocks.2.hook_resid_pre";

    fn spliced(dictionary: &str, site: &str, identity: &str) -> Spliced {
        let nothing = causal::Change { ce: 1.0, kl: 0.0 };
        Spliced {
            dictionary: dictionary.to_owned(),
            architecture: "topk".to_owned(),
            site: site.to_owned(),
            writes: site.to_owned(),
            model: "model".to_owned(),
            identity: identity.to_owned(),
            summary: None,
            tokens: 9,
            ce_clean: 1.0,
            fidelity: causal::Fidelity {
                fvu: None,
                fvu_per_token: None,
                l0: 4.0,
                dead: 0.5,
                dense: 0.5,
            },
            spliced: nothing,
            zero: nothing,
            mean: nothing,
            recovered_from_zero: None,
            recovered_from_mean: None,
        }
    }

    fn scored(dictionary: &str, site: &str, identity: Option<&str>) -> Scored {
        Scored {
            dictionary: dictionary.to_owned(),
            site: site.to_owned(),
            model: "model".to_owned(),
            identity: identity.map(str::to_owned),
            tokens: 9,
            truth: eval::Truth {
                families: BTreeMap::new(),
                silent: 0.0,
                dense: 0.0,
                explained: 0.0,
                latents: BTreeMap::new(),
            },
        }
    }

    #[test]
    fn figures_of_other_dictionaries_than_the_reports_are_refused() {
        let facts = |name: &str, folders: &[(&str, &str)]| {
            let folders: BTreeMap<&str, &str> = folders.iter().copied().collect();
            serde_json::json!({"name": name, "family": name, "identity": "", "seeded": true, "folders": folders})
        };
        let report = |dictionaries: Vec<serde_json::Value>| -> Report {
            serde_json::from_value(serde_json::json!({
                "format_version": eval::report::FORMAT_VERSION, "task": "ioi", "config": {}, "prompts": "", "sites": [],
                "model": {"hash": "model", "n_layer": 1, "n_head": 1, "d_model": 1, "d_vocab": 1},
                "clean": {"logit_diff": 1.0, "accuracy": 1.0, "n": 1},
                "columns": {"scores": "", "resamples": ""}, "scores": [], "comparisons": [], "dictionaries": dictionaries,
                "unseen": [], "means": [],
            }))
            .unwrap()
        };
        // One at two hooks, of which the evaluation has one; another at a node, which is no matter of splice and truth.
        let other = "blocks.1.hook_resid_pre";
        let known = report(vec![
            facts("a", &[(HOOK, "1")]),
            facts("b", &[("blocks.2.hook_resid_pre-END", "2")]),
        ]);
        let neurons = || scored("neurons", HOOK, None);
        let check = |report: &Report, spliced: Vec<Spliced>, truth: Vec<Scored>| {
            let found = super::check(Path::new("run"), report, &spliced, &truth);
            found.map_or_else(|error| error.to_string(), |()| String::new())
        };
        let both = |identity| vec![spliced("a", HOOK, identity), spliced("a", other, "3")];
        let world = |identity| {
            vec![
                neurons(),
                scored("a", HOOK, Some(identity)),
                scored("a", other, Some("3")),
            ]
        };
        assert_eq!(check(&known, both("1"), world("1")), "");
        let old = check(&known, both("0"), world("1"));
        assert!(
            old.contains("run/splice.json") && old.contains(&format!("a at {HOOK} is not")),
            "{old}"
        );
        let old = check(&known, both("1"), world("0"));
        assert!(
            old.contains("run/truth.json") && old.contains("`saelab truth`"),
            "{old}"
        );
        // At a hook of no site the two are compared with each other.
        let torn = check(
            &known,
            both("1"),
            vec![scored("a", HOOK, Some("1")), scored("a", other, Some("4"))],
        );
        assert!(torn.contains("run/truth.json") && torn.contains(other), "{torn}");
        let lacking = check(&known, both("1"), vec![scored("a", HOOK, Some("1"))]);
        assert!(lacking.contains("run/truth.json"), "{lacking}");
        let lacking = check(&known, vec![spliced("a", other, "3")], world("1"));
        assert!(
            lacking.contains("lacks a at") && lacking.contains("splice.json"),
            "{lacking}"
        );
        let unknown = check(&report(vec![facts("c", &[])]), both("1"), world("1"));
        assert!(unknown.contains("a is not in report.json"), "{unknown}");
        let mut elsewhere = both("1");
        elsewhere[1].model = "another".to_owned();
        assert!(check(&known, elsewhere, world("1")).contains("another model"));
    }
}
