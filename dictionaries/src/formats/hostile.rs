//! Folders of every library that contradict themselves or hold what is not known here: refused, the key or tensor named.
//! And folders of every age that their libraries load: read as what they are.

use std::collections::BTreeMap;
use std::path::Path;

use artifacts::HostTensor;
use kernels::cpu;
use serde_json::{Value, json};

use super::torch::{self, Numbers};
use super::{Format, folder};
use crate::{Activation, Autoencoder, Error, Origin};

const D: usize = 4;
const F: usize = 8;

/// The files of a folder before they are written.
#[derive(Clone)]
pub(super) struct Folder {
    format: Format,
    config: Value,
    tensors: BTreeMap<String, HostTensor>,
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 37 % 17) as f32 - 8.0) / 8.0).collect()
}

fn tensor(shape: &[usize]) -> HostTensor {
    HostTensor::new(shape, numbers(shape.iter().product()))
}

impl Folder {
    /// A small folder of TopK with k = 2, as the library writes it.
    pub(super) fn of(format: Format) -> Self {
        let (config, tensors): (_, Vec<(&str, &[usize])>) = match format {
            Format::Saelab | Format::Saelens => (
                json!({
                    "d_in": D, "d_sae": F, "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": true,
                    "normalize_activations": "none", "reshape_activations": "none", "k": 2,
                    "rescale_acts_by_decoder_norm": false, "architecture": "topk",
                    "metadata": {"sae_lens_version": "6.54.12", "hook_name": "blocks.1.hook_resid_pre"},
                }),
                vec![("W_enc", &[D, F]), ("b_enc", &[F]), ("W_dec", &[F, D]), ("b_dec", &[D])],
            ),
            Format::Sparsify => (
                json!({
                    "activation": "topk", "expansion_factor": 2, "normalize_decoder": true, "num_latents": 0, "k": 2,
                    "multi_topk": false, "skip_connection": false, "transcode": false, "d_in": D,
                }),
                vec![
                    ("encoder.weight", &[F, D]),
                    ("encoder.bias", &[F]),
                    ("W_dec", &[F, D]),
                    ("b_dec", &[D]),
                ],
            ),
            Format::DictionaryLearning => (
                json!({
                    "trainer": {
                        "trainer_class": "TopKTrainer", "dict_class": "AutoEncoderTopK", "lr": 1e-3, "steps": 10,
                        "activation_dim": D, "dict_size": F, "k": 2, "layer": 1, "submodule_name": "resid_post_layer_1",
                    },
                    "buffer": {"d_submodule": D, "io": "out"},
                }),
                vec![
                    ("encoder.weight", &[F, D]),
                    ("encoder.bias", &[F]),
                    ("decoder.weight", &[D, F]),
                    ("b_dec", &[D]),
                ],
            ),
        };
        let mut tensors: BTreeMap<String, HostTensor> = tensors
            .into_iter()
            .map(|(name, shape)| (name.to_owned(), tensor(shape)))
            .collect();
        if format == Format::DictionaryLearning {
            tensors.insert("k".to_owned(), HostTensor::new([], vec![2.0]));
            tensors.insert("threshold".to_owned(), HostTensor::new([], vec![-1.0]));
        }
        Self {
            format,
            config,
            tensors,
        }
    }

    /// A folder of SAELens as its versions before 6 wrote it: TopK that calls itself "standard".
    fn old() -> Self {
        let mut old = Self::of(Format::Saelens);
        old.config = json!({
            "architecture": "standard", "d_in": D, "d_sae": F, "activation_fn_str": "topk",
            "activation_fn_kwargs": {"k": 3}, "apply_b_dec_to_input": true, "finetuning_scaling_factor": false,
            "context_size": 64, "model_name": "gpt2", "hook_name": "blocks.1.hook_resid_pre", "hook_layer": 1,
            "hook_head_index": null, "prepend_bos": true, "normalize_activations": "layer_norm",
            "dtype": "torch.float32", "device": "cpu", "sae_lens_training_version": "3.22.2",
        });
        old
    }

    /// The names and bytes of its files.
    pub(super) fn files(&self, dir: &Path) -> Vec<(String, Vec<u8>)> {
        let config = serde_json::to_vec(&self.config).unwrap();
        if self.format == Format::DictionaryLearning {
            let tensors: Vec<_> = self
                .tensors
                .iter()
                .map(|(name, tensor)| match name.as_str() {
                    "k" => (
                        name.as_str(),
                        tensor.shape.clone(),
                        Numbers::I32(vec![tensor.data[0] as i32]),
                    ),
                    _ => (name.as_str(), tensor.shape.clone(), Numbers::F32(tensor.data.clone())),
                })
                .collect();
            let weights = torch::bytes(dir, &tensors).unwrap();
            return vec![("config.json".to_owned(), config), ("ae.pt".to_owned(), weights)];
        }
        let name = match self.format {
            Format::Sparsify => "sae.safetensors",
            _ => "sae_weights.safetensors",
        };
        let weights = artifacts::tensor_bytes(dir, &self.tensors, &BTreeMap::new()).unwrap();
        vec![("cfg.json".to_owned(), config), (name.to_owned(), weights)]
    }

    fn open(&self) -> Result<(Autoencoder, Origin), Error> {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in self.files(dir.path()) {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        Autoencoder::open(dir.path(), &cpu())
    }
}

/// A change of a folder's tensors.
enum Tensors {
    Same,
    Without(&'static str),
    With(&'static str, Vec<usize>),
    /// One number of a tensor.
    Holds(&'static str, f32),
    /// All numbers of a new tensor `[F]`.
    Filled(&'static str, f32),
}
use Tensors::{Filled, Holds, Same, With, Without};

/// Sets keys, or removes those that are null; an object is merged.
fn set(config: &mut Value, change: &Value) {
    for (key, value) in change.as_object().unwrap() {
        let config = config.as_object_mut().unwrap();
        match (config.get_mut(key), value) {
            (_, Value::Null) => drop(config.remove(key)),
            (Some(old), Value::Object(_)) if old.is_object() => set(old, value),
            _ => drop(config.insert(key.clone(), value.clone())),
        }
    }
}

fn changed(base: &Folder, config: &Value, tensors: &Tensors) -> Folder {
    let mut folder = base.clone();
    set(&mut folder.config, config);
    match tensors {
        Same => {}
        Without(name) => drop(folder.tensors.remove(*name).unwrap()),
        With(name, shape) => drop(folder.tensors.insert((*name).to_owned(), tensor(shape))),
        Holds(name, value) => folder.tensors.get_mut(*name).unwrap().data[0] = *value,
        Filled(name, value) => {
            let filled = HostTensor::new([F], vec![*value; F]);
            folder.tensors.insert((*name).to_owned(), filled);
        }
    }
    folder
}

fn all_refused(base: &Folder, cases: Vec<(Value, Tensors, &str)>) {
    base.open().unwrap();
    for (config, tensors, expected) in cases {
        let line = match changed(base, &config, &tensors).open() {
            Err(error) => error.to_string(),
            Ok((model, _)) => panic!("{config} was read as {:?}, expected: {expected}", model.activation),
        };
        assert!(line.contains(expected) && !line.contains('\n'), "{config}: {line}");
    }
}

/// NaN and infinity in any tensor.
fn not_finite(base: &Folder) {
    for name in base.tensors.keys() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut folder = base.clone();
            let tensor = folder.tensors.get_mut(name).unwrap();
            if name == "k" {
                continue;
            }
            *tensor.data.last_mut().unwrap() = value;
            let line = folder.open().unwrap_err().to_string();
            assert!(line.contains(&format!("`{name}` holds NaN or infinity")), "{line}");
        }
    }
}

#[test]
fn folders_of_saelens() {
    let base = Folder::of(Format::Saelens);
    not_finite(&base);
    all_refused(
        &base,
        vec![
            (json!({"k": 0}), Same, "`k` is 0, expected 1 to `d_sae`, 8"),
            (json!({"k": 9}), Same, "`k` is 9"),
            (json!({"k": null}), Same, "`k` is missing"),
            (json!({"k": 2.5}), Same, "`k` is 2.5, expected a whole number"),
            (json!({"k": -1}), Same, "`k` is -1"),
            (json!({"k": "2"}), Same, "`k` is \"2\""),
            (json!({"architecture": "standard"}), Same, "`k` is 2, expected none"),
            (json!({"architecture": null}), Same, "`architecture` is missing"),
            (
                json!({"architecture": "batchtopk"}),
                Same,
                "`architecture` is \"batchtopk\"",
            ),
            (json!({"architecture": "_topk"}), Same, "`architecture` is \"_topk\""),
            (
                json!({"architecture": "transcoder", "k": null}),
                Same,
                "`apply_b_dec_to_input` is true",
            ),
            (
                json!({"architecture": "jumprelu", "k": null}),
                Same,
                "`threshold` is missing",
            ),
            (
                json!({"architecture": "gated", "k": null}),
                Same,
                "`b_gate` is missing; the file has W_dec, b_dec",
            ),
            (
                json!({"architecture": "standard", "k": null, "activation_fn": "topk"}),
                Same,
                "`activation_fn` is \"topk\"",
            ),
            (json!({"activation_fn": "relu"}), Same, "`activation_fn` is \"relu\""),
            (
                json!({"activation_fn_kwargs": {"k": 3}}),
                Same,
                "`activation_fn_kwargs.k` is 3, expected 2",
            ),
            (
                json!({"architecture": "groupmax", "k": 3}),
                Same,
                "`k` is 3, expected a divisor of `d_sae`, 8",
            ),
            (
                json!({"normalize_activations": "covariance_whitening"}),
                Same,
                "covariance_whitening",
            ),
            (
                json!({"normalize_activations": 1}),
                Same,
                "`normalize_activations` is 1",
            ),
            (
                json!({"reshape_activations": "flatten"}),
                Same,
                "`reshape_activations` is \"flatten\"",
            ),
            (json!({"dtype": "int8"}), Same, "`dtype` is \"int8\""),
            (json!({"d_out": 5}), Same, "`d_out` is 5"),
            (json!({"d_in": 0}), Same, "`d_in` is 0, expected 1 or more"),
            (json!({"d_sae": 0}), Same, "`d_sae` is 0"),
            (json!({"d_in": null}), Same, "`d_in` is missing"),
            (json!({"d_sae": 16}), Same, "`W_enc` has shape [4, 8], expected [4, 16]"),
            (
                json!({"output_scale": 2.0}),
                Same,
                "`output_scale` is a key that is not known",
            ),
            (json!({"metadata": 3}), Same, "`metadata` is 3"),
            (
                json!({"hook_name": "blocks.2.hook_resid_pre"}),
                Same,
                "names the hook blocks.1.hook_resid_pre",
            ),
            (
                json!({"architecture": "jumprelu", "k": null, "rescale_acts_by_decoder_norm": true}),
                Filled("threshold", 0.1),
                "`rescale_acts_by_decoder_norm` is true",
            ),
            (json!({}), Without("b_dec"), "`b_dec` is missing"),
            (json!({}), With("W_skip", vec![D, D]), "`W_skip` is a tensor that"),
            (
                json!({}),
                With("log_threshold", vec![F]),
                "`log_threshold` is a tensor that",
            ),
            (json!({}), Filled("scaling_factor", 2.5), "`scaling_factor` is not 1"),
            (
                json!({}),
                Filled("finetuning_scaling_factor", 1.0),
                "`finetuning_scaling_factor` is a tensor that",
            ),
            (json!({}), With("b\nad", vec![1]), "is a tensor that"),
        ],
    );
    all_refused(
        &Folder::old(),
        vec![
            (
                json!({"activation_fn_str": "tanh-relu"}),
                Same,
                "`activation_fn_str` is \"tanh-relu\"",
            ),
            (
                json!({"activation_fn": "relu"}),
                Same,
                "`activation_fn_str` is \"topk\" but `activation_fn` is \"relu\"",
            ),
            (
                json!({"activation_fn_kwargs": {"k": 0}}),
                Same,
                "`activation_fn_kwargs.k` is 0",
            ),
            (
                json!({"activation_fn_kwargs": {"k": 9}}),
                Same,
                "`activation_fn_kwargs.k` is 9",
            ),
            (
                json!({"activation_fn_kwargs": null}),
                Same,
                "`activation_fn_kwargs.k` is missing",
            ),
            (
                json!({"activation_fn_kwargs": {"postact_fn": "tanh"}}),
                Same,
                "`activation_fn_kwargs.postact_fn` is a key",
            ),
            (
                json!({"activation_fn_str": "relu"}),
                Same,
                "`activation_fn_kwargs.k` is 3, expected none",
            ),
            (
                json!({"architecture": "jumprelu"}),
                Filled("threshold", 0.1),
                "`activation_fn_str` is \"topk\"",
            ),
            (
                json!({"hook_point": "blocks.2.hook_resid_pre"}),
                Same,
                "`hook_name` is \"blocks.1.hook_resid_pre\" but",
            ),
        ],
    );
}

#[test]
fn folders_of_saelens_of_every_age_are_read_as_what_they_are() {
    let relu = json!({"activation_fn_str": "relu", "activation_fn_kwargs": null});
    for (base, config, tensors, expected) in [
        (Folder::old(), json!({}), Same, Activation::Topk { k: 3 }),
        // The first name of the key.
        (
            Folder::old(),
            json!({"activation_fn_str": null, "activation_fn": "topk"}),
            Same,
            Activation::Topk { k: 3 },
        ),
        (
            Folder::old(),
            json!({"architecture": "topk"}),
            Same,
            Activation::Topk { k: 3 },
        ),
        (
            Folder::old(),
            json!({"architecture": null}),
            Same,
            Activation::Topk { k: 3 },
        ),
        (
            Folder::old(),
            json!({"sae_lens_version": "5.10.7"}),
            Same,
            Activation::Topk { k: 3 },
        ),
        (Folder::old(), relu.clone(), Same, Activation::Relu),
        // Version 1 had flags and other names, and wrote factors of 1 whether they were used or not.
        (
            Folder::old(),
            json!({
                "activation_fn_str": null, "activation_fn_kwargs": null, "architecture": null, "hook_name": null,
                "hook_point": "blocks.{layer}.hook_resid_pre", "hook_layer": null, "hook_point_layer": 1,
                "normalize_activations": false, "noise_scale": 0.0, "finetuning_scaling_factor": true,
            }),
            Filled("scaling_factor", 1.0),
            Activation::Relu,
        ),
        (Folder::of(Format::Saelens), json!({}), Same, Activation::Topk { k: 2 }),
        (
            Folder::of(Format::Saelens),
            json!({"architecture": "jumprelu", "k": null}),
            Filled("threshold", 0.1),
            Activation::Jumprelu,
        ),
        (
            Folder::of(Format::Saelens),
            json!({"architecture": "skip_transcoder", "k": null, "apply_b_dec_to_input": false}),
            With("W_skip", vec![D, D]),
            Activation::Relu,
        ),
    ] {
        let (model, origin) = changed(&base, &config, &tensors).open().unwrap();
        assert_eq!(model.activation, expected, "{config}");
        assert_eq!(origin.hook().unwrap().name, "blocks.1.hook_resid_pre", "{config}");
    }
}

#[test]
fn folders_of_sparsify() {
    let base = Folder::of(Format::Sparsify);
    not_finite(&base);
    all_refused(
        &base,
        vec![
            (
                json!({"k": 0}),
                Same,
                "`k` is 0, expected 1 to the number of latents, 8",
            ),
            (json!({"k": 9}), Same, "`k` is 9"),
            (json!({"k": null}), Same, "`k` is 32"),
            (
                json!({"activation": "groupmax", "k": 3}),
                Same,
                "`k` is 3, expected a divisor of the number of latents, 8",
            ),
            (json!({"activation": "relu"}), Same, "`activation` is \"relu\""),
            (json!({"signed": true}), Same, "`signed` is true"),
            (json!({"expansion_factor": 0}), Same, "`expansion_factor` is 0"),
            (
                json!({"expansion_factor": u64::MAX}),
                Same,
                "`expansion_factor` is 18446744073709551615",
            ),
            (json!({"d_in": 0}), Same, "`d_in` is 0"),
            (
                json!({"num_latents": 16}),
                Same,
                "`encoder.weight` has shape [8, 4], expected [16, 4]",
            ),
            (json!({"skip_connection": true}), Same, "`W_skip` is missing"),
            (json!({}), With("W_skip", vec![D, D]), "`W_skip` is a tensor that"),
            (json!({}), Without("W_dec"), "`W_dec` is missing"),
            (json!({"post_scale": 3}), Same, "`post_scale` is a key"),
            (json!({"transcode": "yes"}), Same, "`transcode` is \"yes\""),
        ],
    );
    for (config, expected) in [
        (json!({"activation": null, "signed": false}), Activation::Topk { k: 2 }),
        (json!({"activation": "groupmax"}), Activation::Groupmax { k: 2 }),
        (
            json!({"num_latents": 8, "expansion_factor": 0}),
            Activation::Topk { k: 2 },
        ),
    ] {
        let (model, _) = changed(&base, &config, &Same).open().unwrap();
        assert_eq!(model.activation, expected, "{config}");
    }
}

#[test]
fn folders_of_dictionary_learning() {
    let base = Folder::of(Format::DictionaryLearning);
    not_finite(&base);
    let trainer = |change: Value| json!({ "trainer": change });
    all_refused(
        &base,
        vec![
            (trainer(json!({"k": 0})), Same, "`trainer.k` is 0"),
            (trainer(json!({"k": 9})), Same, "`trainer.k` is 9"),
            (
                trainer(json!({"k": 3})),
                Same,
                "`trainer.k` is 3, expected 2, as in ae.pt",
            ),
            (trainer(json!({"k": null})), Without("k"), "`trainer.k` is missing"),
            (trainer(json!({"k": null})), Holds("k", 0.0), "`k` is 0"),
            (json!({}), Holds("k", 9.0), "`k` is 9"),
            (
                trainer(json!({"dict_class": "AutoEncoderNew"})),
                Same,
                "`trainer.k` is 2, expected none",
            ),
            (
                trainer(json!({"dict_class": "AutoEncoderNew", "k": null})),
                Same,
                "`decoder.bias` is missing",
            ),
            (
                trainer(json!({"dict_class": "CrossCoder"})),
                Same,
                "`trainer.dict_class` is \"CrossCoder\"",
            ),
            (
                trainer(json!({"dict_class": null})),
                Same,
                "`trainer.dict_class` is missing",
            ),
            (
                trainer(json!({"dict_class": "MatryoshkaBatchTopKSAE"})),
                Same,
                "`W_enc` is missing",
            ),
            (
                trainer(json!({"activation_dim": 5})),
                Same,
                "`trainer.activation_dim` is 5, expected 4, as in ae.pt",
            ),
            (trainer(json!({"dict_size": 9})), Same, "`trainer.dict_size` is 9"),
            (trainer(json!({"dict_size": 0})), Same, "`trainer.dict_size` is 0"),
            (trainer(json!({"gain": 2})), Same, "`trainer.gain` is a key"),
            (json!({"scale": 2}), Same, "`scale` is a key"),
            (json!({"trainer": null}), Same, "`trainer` is missing"),
            (json!({}), With("r_mag", vec![F]), "`r_mag` is a tensor that"),
            (
                json!({}),
                With("encoder.weight", vec![0, D]),
                "`encoder.weight` has shape [0, 4]",
            ),
            (
                json!({}),
                With("encoder.weight", vec![F]),
                "`encoder.weight` has shape [8]",
            ),
            (
                json!({}),
                With("decoder.weight", vec![F, D]),
                "`decoder.weight` has shape [8, 4], expected [4, 8]",
            ),
            (
                json!({}),
                With("threshold", vec![F]),
                "`threshold` has shape [8], expected one number",
            ),
        ],
    );
    let batch = changed(&base, &trainer(json!({"dict_class": "BatchTopKSAE"})), &Same);
    all_refused(
        &batch,
        vec![(json!({}), Without("threshold"), "`threshold` is missing")],
    );
    // Before December 2024 the weights held no k.
    let (model, origin) = changed(&base, &json!({}), &Without("k")).open().unwrap();
    assert_eq!(model.activation, Activation::Topk { k: 2 });
    assert_eq!(origin.hook().unwrap().name, "resid_post_layer_1");
    let (model, _) = changed(&base, &trainer(json!({"k": null})), &Same).open().unwrap();
    assert_eq!(model.activation, Activation::Topk { k: 2 });
}

#[test]
fn a_key_that_stands_twice_and_weights_of_two_libraries_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = Folder::of(Format::Saelens);
    for (name, bytes) in base.files(dir.path()) {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let text = base.config.to_string();
    let twice = format!("{},\"k\":3}}", &text[..text.len() - 1]);
    std::fs::write(dir.path().join("cfg.json"), twice).unwrap();
    let line = Autoencoder::read(dir.path(), &cpu()).unwrap_err().to_string();
    assert!(line.contains("`k` stands twice"), "{line}");
    std::fs::write(dir.path().join("ae.pt"), b"").unwrap();
    let line = Autoencoder::read(dir.path(), &cpu()).unwrap_err().to_string();
    assert!(line.contains("it holds ae.pt and sae_weights.safetensors"), "{line}");
}

#[test]
fn a_torch_file_that_claims_more_than_it_holds_is_refused_before_it_is_read() {
    let base = Folder::of(Format::DictionaryLearning);
    let dir = tempfile::tempdir().unwrap();
    let files = base.files(dir.path());
    std::fs::write(dir.path().join("config.json"), &files[0].1).unwrap();
    let path = dir.path().join("ae.pt");

    // One number, stretched over 400 million by strides of 0: in the pickle the shape of `encoder.weight` and its strides are
    // pairs of BININT.
    let pair = |a: u32, b: u32| [&b"J"[..], &a.to_le_bytes(), b"J", &b.to_le_bytes()].concat();
    let replace = |bytes: &mut Vec<u8>, old: &[u8], new: &[u8]| {
        let name = bytes.windows(14).position(|part| part == b"encoder.weight").unwrap();
        let place = bytes[name..].windows(old.len()).position(|part| part == old).unwrap();
        bytes[name + place..][..new.len()].copy_from_slice(new);
    };
    let mut whole = zip::ZipArchive::new(std::io::Cursor::new(&files[1].1)).unwrap();
    let mut claims = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for i in 0..whole.len() {
        let mut entry = whole.by_index(i).unwrap();
        let (name, mut bytes) = (entry.name().unwrap().into_owned(), Vec::new());
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        if name == "ae/data.pkl" {
            replace(&mut bytes, &pair(F as u32, D as u32), &pair(20_000, 20_000));
            replace(&mut bytes, &pair(D as u32, 1), &pair(0, 0));
        }
        claims.start_file(name, stored).unwrap();
        std::io::Write::write_all(&mut claims, &bytes).unwrap();
    }
    std::fs::write(&path, claims.finish().unwrap().into_inner()).unwrap();
    let line = Autoencoder::read(dir.path(), &cpu()).unwrap_err().to_string();
    assert!(
        line.contains("`encoder.weight` of shape [20000, 20000] needs 1600000000 bytes"),
        "{line}"
    );

    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let deflated = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    archive.start_file("ae/data.pkl", deflated).unwrap();
    std::io::Write::write_all(&mut archive, &vec![b']'; 1 << 20]).unwrap();
    std::fs::write(&path, archive.finish().unwrap().into_inner()).unwrap();
    let line = Autoencoder::read(dir.path(), &cpu()).unwrap_err().to_string();
    assert!(line.contains("`ae/data.pkl` is compressed"), "{line}");
}

/// A folder of this project with an autoencoder, and its files.
fn own(dir: &Path) -> (Autoencoder, Origin, Vec<folder::File>) {
    let (model, origin) = Folder::of(Format::Saelens).open().unwrap();
    model.write(dir, Format::Saelab, &origin).unwrap();
    let files = model.files(dir, &origin).unwrap();
    (model, origin, files)
}

#[test]
fn one_bit_of_any_file_of_our_own_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, origin, files) = own(dir.path());
    let (_, read) = Autoencoder::open(dir.path(), &cpu()).unwrap();
    assert_eq!(read, origin);
    for (name, bytes) in &files {
        let path = dir.path().join(name);
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << (place % 8);
            std::fs::write(&path, flipped).unwrap();
            let line = Autoencoder::open(dir.path(), &cpu()).unwrap_err().to_string();
            assert!(
                line.contains(name) && !line.contains('\n'),
                "byte {place} of {name}: {line}"
            );
        }
        std::fs::write(&path, bytes).unwrap();
    }
    Autoencoder::open(dir.path(), &cpu()).unwrap();
}

#[test]
fn a_write_that_broke_off_is_no_autoencoder_and_can_be_repeated() {
    let whole = tempfile::tempdir().unwrap();
    let (model, origin, _) = own(whole.path());
    let path = |dir: &Path, name: &str| dir.join(name);
    for format in [
        Format::Saelab,
        Format::Saelens,
        Format::Sparsify,
        Format::DictionaryLearning,
    ] {
        let unharmed = tempfile::tempdir().unwrap();
        model.write(unharmed.path(), format, &origin).unwrap();
        let read = |name: &str| std::fs::read(path(unharmed.path(), name)).unwrap();
        let names: &[&str] = match format {
            Format::Saelab => &["config.json", "cfg.json", "sae_weights.safetensors"],
            Format::Saelens => &["cfg.json", "sae_weights.safetensors"],
            Format::Sparsify => &["cfg.json", "sae.safetensors"],
            Format::DictionaryLearning => &["config.json", "ae.pt"],
        };
        assert_eq!(std::fs::read_dir(unharmed.path()).unwrap().count(), names.len());
        for done in 0..=names.len() {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
            for name in &names[..done] {
                std::fs::write(path(dir.path(), name), read(name)).unwrap();
            }
            if done < names.len() {
                assert!(Autoencoder::open(dir.path(), &cpu()).is_err(), "{format}, {done} files");
            }
            model.write(dir.path(), format, &origin).unwrap();
            for name in names {
                assert!(
                    std::fs::read(path(dir.path(), name)).unwrap() == read(name),
                    "{format}, {name}"
                );
            }
            // Another autoencoder, of whatever layout, is left as it is.
            let mut other = model.clone();
            other.parameters.b_dec = other.parameters.b_dec.clone() + 1.0;
            for other_format in [
                Format::Saelab,
                Format::Saelens,
                Format::Sparsify,
                Format::DictionaryLearning,
            ] {
                let refused = other.write(dir.path(), other_format, &origin).unwrap_err();
                assert!(
                    matches!(refused, Error::Occupied { .. }),
                    "{format} under {other_format}: {refused}"
                );
            }
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), names.len() + 1);
        }
    }
}

#[test]
fn saving_replaces_the_autoencoder_that_stands_there_and_leaves_nothing_beside() {
    let dir = tempfile::tempdir().unwrap();
    let (model, origin, files) = own(dir.path());
    let mut other = model.clone();
    other.parameters.b_dec = other.parameters.b_dec.clone() + 1.0;
    other.save(dir.path(), &origin).unwrap();
    Autoencoder::open(dir.path(), &cpu()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), files.len());
    model.save(dir.path(), &origin).unwrap();
    for (name, bytes) in files {
        assert!(std::fs::read(dir.path().join(name)).unwrap() == bytes, "{name}");
    }
}

#[test]
#[cfg(unix)]
fn a_folder_whose_name_is_no_text_is_converted() {
    use std::os::unix::ffi::OsStrExt as _;
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join(std::ffi::OsStr::from_bytes(b"sae\xff"));
    std::fs::create_dir(&odd).unwrap();
    for (name, bytes) in Folder::of(Format::Saelens).files(&odd) {
        std::fs::write(odd.join(name), bytes).unwrap();
    }
    let (model, origin) = Autoencoder::open(&odd, &cpu()).unwrap();
    let out = dir.path().join("out");
    model.write(&out, Format::Saelab, &origin).unwrap();
    let (_, read) = Autoencoder::open(&out, &cpu()).unwrap();
    assert!(matches!(read, Origin::Imported { path, .. } if path.ends_with("sae\u{fffd}")));
}
