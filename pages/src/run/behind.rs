//! The pages of latents that stand behind a score.

use std::collections::BTreeSet;

use causal::Site;
use eval::Score;

use crate::latents::{FOLDER, PAGE};

/// The pages of latents of a run.
#[derive(Debug)]
pub(crate) struct Behind<'a> {
    sites: &'a [Site],
    pages: BTreeSet<&'a str>,
}

impl<'a> Behind<'a> {
    /// `pages`: addresses from the run's folder, and names.
    pub(crate) fn new(sites: &'a [Site], pages: &'a [(String, String)]) -> Self {
        Self {
            sites,
            pages: pages.iter().map(|(address, _)| address.as_str()).collect(),
        }
    }

    /// The address of the page of the score's dictionary at its site, which shows the score's best latents where it is of such; none
    /// where the run has no such page. Of a site of several nodes the page is that of the first best latent.
    pub(crate) fn score(&self, score: &Score) -> Option<String> {
        let site = self.sites.iter().find(|site| site.name == score.site)?;
        let of_latent = score.latents.first().and_then(|best| best.node);
        let node = match (of_latent, site.nodes.as_slice()) {
            (Some(node), _) => node,
            (None, &[node]) => node,
            (None, _) => return None,
        };
        let page = format!("{FOLDER}/{}/{}/{PAGE}", score.dictionary, node.dir_name());
        if !self.pages.contains(page.as_str()) {
            return None;
        }
        let here = score
            .latents
            .iter()
            .filter(|best| best.node.is_none_or(|at| at == node));
        let latents: BTreeSet<u32> = here.map(|best| best.latent).collect();
        let latents: Vec<String> = latents.iter().map(u32::to_string).collect();
        match latents.is_empty() {
            true => Some(page),
            false => Some(format!("{page}#latents-{}", latents.join(","))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use eval::{BestLatent, Metric};

    use super::*;

    fn score(dictionary: &str, latents: &[u32]) -> Score {
        let best = latents.iter().enumerate();
        Score {
            dictionary: dictionary.to_owned(),
            site: "here".to_owned(),
            attribute: None,
            test: Metric::F1.test(),
            metric: Metric::F1,
            method: None,
            k: None,
            threshold: None,
            verdict: None,
            sensitivity: BTreeMap::new(),
            value: Some(0.5),
            low: None,
            high: None,
            n: 1,
            raw: BTreeMap::new(),
            latents: best
                .map(|(value, &latent)| BestLatent {
                    value,
                    latent,
                    node: None,
                })
                .collect(),
        }
    }

    #[test]
    fn a_score_leads_to_its_latents_where_they_have_a_page() {
        let sites = [Site {
            name: "here".to_owned(),
            nodes: vec!["blocks.2.hook_resid_pre@END".parse().unwrap()],
            attributes: Vec::new(),
            evidence: Vec::new(),
        }];
        let page = "latents/sae/blocks.2.hook_resid_pre-END/index.html";
        let pages = [(page.to_owned(), "sae".to_owned())];
        let behind = Behind::new(&sites, &pages);
        assert_eq!(
            behind.score(&score("sae", &[7, 3, 7])),
            Some(format!("{page}#latents-3,7"))
        );
        assert_eq!(behind.score(&score("sae", &[])), Some(page.to_owned()));
        assert_eq!(behind.score(&score("other", &[1])), None);
        let elsewhere = Score {
            site: "elsewhere".to_owned(),
            ..score("sae", &[1])
        };
        assert_eq!(behind.score(&elsewhere), None);
    }
}
