//! A latent of a model's dictionary as a black box: token ids in, activations out.

use burn::tensor::Tensor;
use kernels::random::ChaCha8Rng;
use kernels::to_vec;
use lm::{HookPoint, Model, Passes, Request};
use text::Tokenizer;

use crate::black_box::{Function, Input, Kind, Output};

/// Rows of a batch of the model.
const ROWS: usize = 32;

/// Where the activations of a dictionary come from.
pub struct Reader<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The hook that the dictionary reads.
    pub hook: HookPoint,
    /// One head, where it has heads.
    pub head: Option<usize>,
    /// Vectors `[B, D]` to codes `[B, F]`.
    pub encode: &'a (dyn Fn(Tensor<2>) -> Tensor<2> + Sync),
}

impl Reader<'_> {
    /// Codes of one latent at every token of each row; the beginning-of-text token has none.
    ///
    /// # Errors
    ///
    /// Rows that the model cannot read.
    pub fn activations(&self, rows: &[Vec<u32>], latent: usize) -> Result<Vec<Vec<f32>>, lm::Error> {
        let request = Request {
            capture: vec![self.hook],
            ..Request::default()
        };
        let passes = Passes::new(self.model, ROWS);
        let found = passes.run(
            rows,
            |_| Ok::<_, lm::Error>(request.clone()),
            |pass, trace| {
                let (n, length) = (pass.tokens.rows(), pass.tokens.len());
                let places = (0..length).map(|place| trace.at(self.hook, self.head, &vec![place; n]));
                let vectors = Tensor::cat(places.collect::<Result<Vec<_>, _>>()?, 0); // [T * B, D]
                let codes = (self.encode)(vectors); // [T * B, F]
                let width = codes.dims()[1];
                let codes = to_vec(codes.slice([0..n * length, latent..(latent + 1).min(width)])); // [T * B]
                let of_row = |row: usize| (0..length).map(|place| codes[place * n + row]).collect::<Vec<f32>>();
                Ok((pass.rows.clone(), (0..n).map(of_row).collect::<Vec<_>>()))
            },
        )?;
        let mut all = vec![Vec::new(); rows.len()];
        for (numbers, codes) in found {
            for (number, mut codes) in numbers.into_iter().zip(codes) {
                if self
                    .tokenizer
                    .bos()
                    .is_some_and(|bos| rows[number].first() == Some(&bos))
                {
                    codes[0] = 0.0;
                }
                all[number] = codes;
            }
        }
        Ok(all)
    }
}

/// One latent.
pub struct LatentFunction<'a> {
    /// Where its activations come from.
    pub reader: &'a Reader<'a>,
    /// Its number.
    pub latent: usize,
}

impl LatentFunction<'_> {
    fn rows(&self, input: &Input) -> Result<Vec<u32>, String> {
        let context = self.reader.model.spec().n_ctx;
        let ids = match input {
            Input::Tokens(ids) => ids.clone(),
            Input::Text(text) => self.reader.tokenizer.encode(text).map_err(|error| error.to_string())?,
            Input::Number(_) => return Err("not a text".to_owned()),
        };
        let begins = self.reader.tokenizer.bos().filter(|bos| ids.first() != Some(bos));
        let ids: Vec<u32> = match input {
            Input::Text(_) => begins.into_iter().chain(ids).collect(),
            _ => ids,
        };
        match ids.len() {
            0 => Err("no tokens".to_owned()),
            n if n > context => Err(format!("{n} tokens, and the model reads {context}")),
            _ => Ok(ids),
        }
    }
}

impl Function for LatentFunction<'_> {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    #[expect(clippy::expect_used, reason = "the reader gives a row for each row")]
    fn respond(&self, inputs: &[Input], _rng: &mut ChaCha8Rng) -> Vec<Output> {
        let rows: Vec<Result<Vec<u32>, String>> = inputs.iter().map(|input| self.rows(input)).collect();
        let good: Vec<Vec<u32>> = rows.iter().flatten().cloned().collect();
        let mut found = match self.reader.activations(&good, self.latent) {
            Ok(found) => found.into_iter(),
            Err(error) => return inputs.iter().map(|_| Output::Error(error.to_string())).collect(),
        };
        let answer = |row: Result<Vec<u32>, String>| match row {
            Ok(_) => Output::Activations(found.next().expect("one row of activations for each row of tokens")),
            Err(reason) => Output::Error(reason),
        };
        rows.into_iter().map(answer).collect()
    }
}
