//! The committed sites files name nodes that their models have.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use causal::Sites;
use lm::Spec;
use tasks::Attribute;

fn read(name: &str) -> Sites {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs/sites")
        .join(name);
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn check(sites: &Sites, model: &lm::Model) -> Result<(), causal::Error> {
    sites.check(&sites.task.schema()?, model)
}

fn gpt2_small() -> Spec {
    Spec::gpt2(12, 12, 768, 1024, 50_257)
}

/// Number of (site, attribute) pairs.
fn n_edits(sites: &Sites) -> usize {
    sites.sites.iter().map(|site| site.attributes.len()).sum()
}

#[test]
fn the_circuit_of_gpt2_is_that_of_the_paper() {
    let sites = read("gpt2-ioi.toml");
    sites.validate(&sites.task.schema().unwrap(), &gpt2_small()).unwrap();
    assert_eq!(sites.model_hash, None);
    assert_eq!((sites.nodes().len(), n_edits(&sites)), (55, 11));
    let size = |site: &causal::Site| (site.name.clone(), site.nodes.len());
    let expected = [
        ("(B)NM out", 10),
        ("(B)NM q", 10),
        ("(B)NM qk", 30),
        ("S-I out", 4),
        ("S-I v", 4),
        ("Ind+DT out", 7),
    ];
    let found: Vec<(String, usize)> = sites.sites.iter().map(size).collect();
    assert_eq!(found, expected.map(|(name, n)| (name.to_owned(), n)));
    for (index, site) in sites.sites.iter().enumerate() {
        let expected: &[Attribute] = if index == 0 {
            &[Attribute::IO]
        } else {
            &[Attribute::S, Attribute::POS]
        };
        assert_eq!(site.attributes, expected, "{}", site.name);
    }
}

#[test]
fn the_residual_stream_of_gpt2_is_read_at_27_nodes() {
    let sites = read("gpt2-ioi-resid.toml");
    sites.validate(&sites.task.schema().unwrap(), &gpt2_small()).unwrap();
    assert_eq!((sites.sites.len(), sites.nodes().len(), n_edits(&sites)), (27, 27, 81));
}

#[test]
fn the_sites_of_the_shipped_model_are_its_own() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Where the program is run, and paths of task files begin.
    std::env::set_current_dir(&repository).unwrap();
    let folder = repository.join("models/small-world");
    let model = lm::Model::load(&folder, &kernels::cpu()).unwrap();
    for name in [
        "small-world.toml",
        "small-world-names.toml",
        "small-world-pronoun.toml",
        "small-world-agreement.toml",
        "../quality/sites.toml",
    ] {
        check(&read(name), &model).unwrap();
    }
    // The task is not studied where it does not happen: several places, both attributes that the paper edits, and a head.
    let located = read("small-world.toml");
    assert!(located.sites.len() >= 4);
    for attribute in [Attribute::IO, Attribute::POS] {
        assert!(
            located.sites.iter().any(|site| site.attributes.contains(&attribute)),
            "{attribute}"
        );
    }
    assert!(located.nodes().iter().any(|node| node.head.is_some()));
    // Re-factored weights behave alike, so the places stay; a file without a hash has only to name places that exist.
    let options = lm::LoadOptions {
        refactor_attention: true,
        ..lm::LoadOptions::default()
    };
    let refactored = lm::Model::load_with(&folder, options, &kernels::cpu()).unwrap();
    check(&read("small-world.toml"), &refactored).unwrap();
    let error = check(&read("gpt2-ioi-resid.toml"), &model).unwrap_err().to_string();
    assert!(error.contains("blocks.4.hook_resid_pre@S1+1"), "{error}");
}
