//! A small random GPT-2 that happens to favour the indirect object, and dictionaries for it.

#![allow(dead_code, reason = "each test file uses its own part")]

use activations::Node;
use burn::tensor::{Device, Tensor};
use causal::interventions::Runner;
use causal::{Site, Sites};
use dictionaries::{Dictionary, Encoder, RandomDictionary};
use eval::{DictionarySet, Edit, TaskDictionary};
use lm::train::{PretrainConfig, Pretrainer};
use lm::{Model, Spec};
use std::collections::BTreeSet;
use std::sync::OnceLock;
use tasks::{Attribute, IoiTask, Sample, Task, TaskSource, lists};
use text::Tokenizer;

pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) task: IoiTask,
}

/// The first random model whose mean logit difference happens to favour the indirect object.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let template_words = "Then , and had a long really crazy argument . Afterwards said to lots of fun at the gave were \
                              working decided give";
        let mut pieces: BTreeSet<String> = BTreeSet::new();
        for word in template_words.split_whitespace() {
            pieces.extend([word.to_owned(), format!(" {word}")]);
        }
        let words = lists::MALE_NAMES.into_iter().chain(lists::FEMALE_NAMES).chain(lists::OBJECTS).chain(lists::PLACES);
        pieces.extend(words.map(|word| format!(" {word}")));
        let tokenizer = Tokenizer::word_level(&pieces.into_iter().collect::<Vec<_>>()).unwrap();
        let task = IoiTask::new(&tokenizer).unwrap();
        for seed in 0..50 {
            let config = PretrainConfig {
                steps: 1,
                learning_rate: 0.0,
                warmup_steps: 0,
                weight_decay: 0.0,
                clip_norm: 1.0,
                init_std: 0.3,
                seed,
            };
            let size = Spec::gpt2(3, 2, 32, 32, tokenizer.vocab_size());
            let folder = tempfile::tempdir().unwrap();
            Pretrainer::new(config, size, &kernels::cpu()).export(folder.path(), tokenizer.bos().unwrap()).unwrap();
            let model = Model::load(folder.path(), &kernels::cpu()).unwrap();
            let favours = |sample, n| {
                let prompts = task.sample(sample, n, 0);
                let clean = Runner::new(&model, 50).clean(&prompts, &BTreeSet::new()).unwrap();
                clean.outcome.mean_logit_diff() > 0.15
            };
            if favours(Sample::Evaluation, 60) && favours(Sample::Locate, 40) {
                return World { model, task };
            }
        }
        panic!("no seed gives a model that favours the indirect object");
    })
}

/// `encode` and `decode` do nothing.
pub(crate) struct Identity(pub(crate) usize);

impl Dictionary for Identity {
    fn d_in(&self) -> usize {
        self.0
    }

    fn n_latents(&self) -> usize {
        self.0
    }

    fn device(&self) -> Device {
        kernels::cpu()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        codes
    }
}

impl Encoder for Identity {
    fn encode(&self, activations: Tensor<2>) -> Tensor<2> {
        activations
    }
}

pub(crate) fn node(name: &str) -> Node {
    name.parse().unwrap()
}

pub(crate) fn sites(model: &Model) -> Sites {
    let site = |name: &str, nodes: &[&str], attributes: &[Attribute]| Site {
        name: name.to_owned(),
        nodes: nodes.iter().map(|name| node(name)).collect(),
        attributes: attributes.to_vec(),
        evidence: Vec::new(),
    };
    let sites = vec![
        site(
            "resid",
            &["blocks.1.hook_resid_pre@END"],
            &[Attribute::IO, Attribute::POS],
        ),
        site(
            "heads",
            &["blocks.0.attn.hook_z.1@S2", "blocks.1.attn.hook_z.0@END"],
            &[Attribute::S],
        ),
    ];
    Sites {
        task: TaskSource::Ioi,
        model_hash: Some(model.hash().to_owned()),
        sites,
    }
}

pub(crate) fn sets(model: &Model) -> Vec<DictionarySet> {
    let nodes = sites(model).nodes();
    let identity = |node: &Node| -> Box<TaskDictionary> { Box::new(Identity(node.width(model.spec()))) };
    let random = |node: &Node| -> Box<TaskDictionary> {
        let mean = vec![0.0; node.width(model.spec())];
        Box::new(RandomDictionary::new(&mean, 64, 4, 0, node, &kernels::cpu()))
    };
    let set = |name: &str, edit, make: &dyn Fn(&Node) -> Box<TaskDictionary>| DictionarySet {
        name: name.to_owned(),
        family: name.to_owned(),
        identity: name.to_owned(),
        folders: std::collections::BTreeMap::new(),
        reads: std::collections::BTreeMap::new(),
        seeded: false,
        edit,
        by_node: nodes.iter().map(|node| (*node, make(node))).collect(),
    };
    vec![
        set("everything", Edit::Supervised, &identity),
        set("identity", Edit::Greedy, &identity),
        set("random", Edit::Greedy, &random),
    ]
}
