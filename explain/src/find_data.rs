//! FIND's own data, from a folder that the user has: `find-dataset` of github.com/multimodal-interpretability/FIND.
//!
//! The repository holds two versions of its unit tests under one format that have no triplet in common. Version 2 is
//! `find-dataset/*/unit_test_data.json`; version 1 lies in `evaluate_interpretations/utils` and is refused, by its content whatever
//! it is called. Python files are never run: string functions, which exist as such files alone, are judged by their unit tests but
//! cannot be asked.

use std::collections::BTreeMap;
use std::path::Path;

use kernels::random::{ChaCha8Rng, rng};
use serde::Deserialize;
use serde_json::Value;

use crate::Error;
use crate::black_box::{Function, Input, Kind, Output};
use crate::explanation::{Explanation, Status};
use crate::numeric::{Atom, Corruption, Formula, Mlp, MlpTraining, Served, Variant};
use crate::problem::{Choice, Problem, UnitTest};
use crate::problems;

/// sha256 of the files of version 1, and what they are.
const VERSION_1: [(&str, &str); 3] = [
    (
        "5cc991e26163b7ce265edb98d88e919ee32f2693dec8f62f6ebc8a7c2645d1c5",
        "entities",
    ),
    (
        "5758968e5329de041cf7db0b22517bab23c9b5a97497ff5076416ad927ce470b",
        "relations",
    ),
    (
        "e65d8653b51f86ac5595a4a3d463f3e76c2226d632da6cbcb7521920e9623759",
        "strings",
    ),
];

/// What stands for an MLP whose weights are not in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingMlps {
    /// Networks trained again; not those of the publication.
    Train(MlpTraining),
    /// The formulas that they were trained on.
    Formulas,
}

/// The problems of a folder.
///
/// # Errors
///
/// A folder without the data, files that are not as published, files of version 1.
pub fn read(folder: &Path, mlps: MissingMlps, seed: u64) -> Result<Vec<Problem>, Error> {
    let mut all = Vec::new();
    let has = |family: &str| folder.join(family).exists();
    if has("numeric") {
        all.extend(numeric(&folder.join("numeric"), mlps, seed)?);
    }
    if has("neurons_entities") {
        all.extend(words(&folder.join("neurons_entities"), Kind::Entities)?);
    }
    if has("neurons_relations") {
        all.extend(words(&folder.join("neurons_relations"), Kind::Relations)?);
    }
    if has("strings") {
        all.extend(words(&folder.join("strings"), Kind::Strings)?);
    }
    match all.is_empty() {
        true => Err(bad(
            folder,
            "holds no data of FIND; name its folder find-dataset, in which numeric, strings, \
                                 neurons_entities and neurons_relations lie",
        )),
        false => Ok(all),
    }
}

fn bad(path: &Path, reason: impl Into<String>) -> Error {
    Error::Data {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = artifacts::read(path)?;
    serde_json::from_slice(&bytes).map_err(|error| bad(path, format!("is not as FIND publishes it: {error}")))
}

/// An entry of `numeric/data.json`.
#[derive(Debug, Deserialize)]
struct NumericEntry {
    params: Value,
    name: String,
    dir: String,
    corruption_type: String,
    corruption_params: CorruptionParams,
    noise_type: String,
}

#[derive(Debug, Deserialize)]
struct CorruptionParams {
    /// Misnamed there: the mean of what replaces the values.
    std: f64,
    boundary: Vec<f64>,
}

fn numeric(folder: &Path, mlps: MissingMlps, seed: u64) -> Result<Vec<Problem>, Error> {
    let path = folder.join("data.json");
    let entries: Vec<NumericEntry> = json(&path)?;
    let served_as: BTreeMap<String, String> = json(&folder.join("func_name_dict.json"))?;
    let problem = |entry: &NumericEntry| {
        let refuse = |what: &str| bad(&path, format!("{}: {what}", entry.dir));
        let formula = formula(entry).ok_or_else(|| refuse("its parameters are not those of its atoms"))?;
        let script = served_as.get(&entry.dir).map(String::as_str);
        let variant = match script {
            Some("function_code.py") => Variant::Clean,
            Some("noised_function_code.py") => {
                Variant::Noised(entry.noise_type.parse().map_err(|_| refuse("its noise is unknown"))?)
            }
            Some("corrupted_function_code.py") => {
                Variant::Corrupted(corruption(entry).ok_or_else(|| refuse("its corruption is unknown"))?)
            }
            Some("load_mlp.py") => match mlps {
                MissingMlps::Formulas => Variant::Clean,
                MissingMlps::Train(training) => {
                    let mut rng = rng(seed, &format!("find/data/{}", entry.dir));
                    Variant::Mlp(Box::new(Mlp::train(&formula, training, &mut rng)))
                }
            },
            _ => return Err(refuse("func_name_dict.json does not say how it is served")),
        };
        let name = if script == Some("load_mlp.py") {
            "mlp"
        } else {
            variant.name()
        };
        let problem = problems::numeric_problem(format!("numeric-{}", entry.dir), Served { formula, variant }, seed);
        Ok(Problem {
            variant: name.to_owned(),
            ..problem
        })
    };
    entries.iter().map(problem).collect()
}

fn corruption(entry: &NumericEntry) -> Option<Corruption> {
    let CorruptionParams { std: mean, boundary } = &entry.corruption_params;
    let (low, high) = match (entry.corruption_type.as_str(), boundary.as_slice()) {
        ("interval_inside", [low, high]) => (Some(*low), Some(*high)),
        ("interval_smaller", [bound]) => (None, Some(*bound)),
        ("interval_larger", [bound]) => (Some(*bound), None),
        _ => return None,
    };
    Some(Corruption { low, high, mean: *mean })
}

/// The formula of an entry: `atom(...)` or `atom;atom;join(..., ...)`.
fn formula(entry: &NumericEntry) -> Option<Formula> {
    let (names, _) = entry.name.split_once('(')?;
    match names.split(';').collect::<Vec<_>>().as_slice() {
        [name] => Some(Formula::Simple(atom(name, &entry.params)?)),
        [one, other, join] => {
            let [of_one, of_other] = entry.params.as_array()?.as_slice() else {
                return None;
            };
            let (one, other) = (atom(one, of_one)?, atom(other, of_other)?);
            match *join {
                "sum_two" => Some(Formula::Sum(one, other)),
                "multiply_two" => Some(Formula::Product(one, other)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn atom(name: &str, params: &Value) -> Option<Atom> {
    let list = |value: &Value| {
        value
            .as_array()?
            .iter()
            .map(Value::as_f64)
            .collect::<Option<Vec<f64>>>()
    };
    if name == "rational" {
        let [a, b] = params.as_array()?.as_slice() else {
            return None;
        };
        return Some(Atom::Rational {
            a: list(a)?,
            b: list(b)?,
        });
    }
    let p = match params {
        Value::Number(number) => vec![number.as_f64()?],
        Value::Null => Vec::new(),
        params => list(params)?,
    };
    Some(match (name, p.as_slice()) {
        ("linear", &[m, b]) => Atom::Linear { m, b },
        ("polynomial", c) if !c.is_empty() => Atom::Polynomial { c: c.to_vec() },
        ("absolute", &[s, _]) => Atom::Absolute { s },
        ("root", &[s, b, n]) => Atom::Root { s, b, n },
        ("reciprocal", &[a]) => Atom::Reciprocal { a },
        ("logarithm", &[s, b, base]) => Atom::Logarithm { s, b, base },
        ("step", &[s, b, a]) => Atom::Step { s, b, a },
        ("rectangle", &[w]) => Atom::Rectangle { w },
        ("relu", &[s, b, l]) => Atom::Relu { s, b, l },
        ("tanh", &[a, p, c, b]) => Atom::Tanh { a, p, c, b },
        ("sin", &[a, p, c, b]) => Atom::Sin { a, p, c, b },
        ("cos", &[a, p, c, b]) => Atom::Cos { a, p, c, b },
        ("gaussian", &[mean, std]) => Atom::Gaussian { mean, std },
        ("square_wave", &[period, shift]) => Atom::SquareWave { period, shift },
        ("constant", &[a]) => Atom::Constant { a },
        ("ceil", []) => Atom::Ceil,
        ("floor", []) => Atom::Floor,
        _ => return None,
    })
}

/// An entry of `unit_test_data.json`.
#[derive(Debug, Deserialize)]
struct Tests {
    name: String,
    test_vec: Vec<Value>,
    correct_inx: Vec<usize>,
}

/// An entry of `data.json` of entities and relations.
#[derive(Debug, Deserialize)]
struct WordEntry {
    dir: String,
    concept1: String,
    concept2: Option<String>,
    #[serde(default)]
    exeption: Option<String>,
    initial: Vec<String>,
}

/// What is known of a function: the inputs and outputs of its own among its tests.
struct Known {
    kind: Kind,
    /// Outputs by input; those of entities are empty.
    outputs: BTreeMap<String, String>,
}

impl Function for Known {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn respond(&self, inputs: &[Input], _rng: &mut ChaCha8Rng) -> Vec<Output> {
        let answer = |input: &Input| {
            let Input::Text(text) = input else {
                return Output::Error("not a text".to_owned());
            };
            match (self.kind, self.outputs.get(text.trim())) {
                (Kind::Entities, found) => Output::Number(if found.is_some() { 0.97 } else { 0.03 }),
                (Kind::Relations, found) => Output::Text(found.map_or("undefined", String::as_str).to_owned()),
                _ => Output::Error("the function is a Python file, which is not run".to_owned()),
            }
        };
        inputs.iter().map(answer).collect()
    }
}

fn words(folder: &Path, kind: Kind) -> Result<Vec<Problem>, Error> {
    let path = folder.join("unit_test_data.json");
    if !path.exists() {
        return Err(bad(
            &path,
            "is missing: the unit tests of version 2 are needed; the files eval_data_*.json are of version 1, \
                               which does not belong to this data",
        ));
    }
    let bytes = artifacts::read(&path)?;
    let hash = artifacts::sha256_hex(&bytes);
    if let Some((_, family)) = VERSION_1.iter().find(|(known, _)| *known == hash) {
        return Err(bad(
            &path,
            format!(
                "holds the unit tests of {family} of version 1, which share no triplet with version 2; take \
                                       find-dataset/*/unit_test_data.json of the repository"
            ),
        ));
    }
    let all: Vec<Tests> = json(&path)?;
    let entries: Vec<WordEntry> = match kind {
        Kind::Strings => Vec::new(),
        _ => json(&folder.join("data.json"))?,
    };
    // In relations the folder's name has a path before it.
    let by_name: BTreeMap<&str, &WordEntry> = entries
        .iter()
        .filter_map(|entry| Some((entry.dir.rsplit('/').next()?, entry)))
        .collect();
    all.iter()
        .map(|tests| problem(tests, by_name.get(tests.name.as_str()).copied(), kind, &path))
        .collect()
}

fn problem(tests: &Tests, entry: Option<&WordEntry>, kind: Kind, path: &Path) -> Result<Problem, Error> {
    let refuse = |what: &str| bad(path, format!("{}: {what}", tests.name));
    if tests.test_vec.len() != tests.correct_inx.len() {
        return Err(refuse("another number of answers than of tests"));
    }
    let mut found = Vec::new();
    for (test, correct) in tests.test_vec.iter().zip(&tests.correct_inx) {
        let test = unit_test(test, *correct, kind).ok_or_else(|| refuse("a test is no triplet"))?;
        found.push(test);
    }
    let right = found.iter().map(|test| &test.choices[test.correct]);
    let outputs = right.map(|choice| {
        (
            choice.input.trim().to_owned(),
            choice.output.clone().unwrap_or_default().trim().to_owned(),
        )
    });
    let known = Known {
        kind,
        outputs: outputs.collect(),
    };
    let text = match (entry, kind) {
        (
            Some(WordEntry {
                concept1,
                concept2: Some(concept2),
                ..
            }),
            Kind::Entities,
        ) => format!("{concept1} or {concept2}"),
        (Some(WordEntry { concept1, .. }), Kind::Entities) => concept1.clone(),
        (
            Some(WordEntry {
                concept1,
                concept2,
                exeption,
                ..
            }),
            _,
        ) => {
            let exception = exeption
                .as_ref()
                .map_or_else(String::new, |exception| format!("; except: {exception}"));
            format!(
                "from {concept1} to {}{exception}",
                concept2.as_deref().unwrap_or("nothing")
            )
        }
        (None, _) => String::new(),
    };
    let variant = match (entry, kind) {
        (Some(WordEntry { concept2: None, .. }), Kind::Entities) => "one concept",
        (Some(_), Kind::Entities) => "two concepts",
        (Some(WordEntry { exeption: Some(_), .. }), _) => "exception",
        _ => "clean",
    };
    let truth = Explanation {
        text,
        claim: None,
        status: Status::Done,
    };
    let id = format!("{kind}-{}", tests.name);
    Ok(Problem {
        tests: found,
        exemplars: entry.map(|entry| entry.initial.clone()).unwrap_or_default(),
        ..Problem::new(id, variant, Box::new(known), truth)
    })
}

/// `[w1, w2, w3]` for entities, `[[in1, in2, in3], [out1, out2, out3]]` for others; the right one is counted from 1.
fn unit_test(test: &Value, correct: usize, kind: Kind) -> Option<UnitTest> {
    let three = |value: &Value| -> Option<[String; 3]> {
        let texts: Option<Vec<String>> = value
            .as_array()?
            .iter()
            .map(|text| Some(text.as_str()?.to_owned()))
            .collect();
        texts?.try_into().ok()
    };
    let correct = correct.checked_sub(1).filter(|correct| *correct < 3)?;
    let choices = match kind {
        Kind::Entities => three(test)?.map(|input| Choice { input, output: None }),
        _ => {
            let [inputs, outputs] = test.as_array()?.as_slice() else {
                return None;
            };
            let mut outputs = three(outputs)?.into_iter();
            three(inputs)?.map(|input| Choice {
                input,
                output: outputs.next(),
            })
        }
    };
    Some(UnitTest { choices, correct })
}
