//! The second half of a training step: the norm of the whole gradient, its clip, and one update a parameter.

use dictionaries::Parameters;
use kernels::{Scalar, Update, squared_norm};

use crate::trainer::Trainer;

impl Trainer {
    /// Moves the parameters that are not frozen; gives the squared norm of their gradient.
    pub(crate) fn apply(&mut self, gradients: Parameters) -> Scalar {
        let (unit_rows, frozen) = (self.architecture.has_unit_decoder(), self.schedule.frozen_decoder);
        let p = &mut self.parameters;
        let of_decoder = match frozen {
            true => 0.0.into(),
            false => squared_norm(&gradients.w_dec, unit_rows.then_some(&p.w_dec)),
        };
        let squares = squared_norm(&gradients.w_enc, None)
            + squared_norm(&gradients.b_enc, None)
            + of_decoder
            + squared_norm(&gradients.b_dec, None)
            + gradients.extra.iter().map(|g| squared_norm(g, None)).sum();
        let update = Update {
            gradient_scale: squares.clip(self.clip_norm),
            ..Update::plain(self.schedule.learning_rate(self.step))
        };
        self.adam.begin_step();
        self.adam
            .update(Parameters::W_ENC, &mut p.w_enc, gradients.w_enc, &update);
        self.adam
            .update(Parameters::B_ENC, &mut p.b_enc, gradients.b_enc, &update);
        if !frozen {
            let update = Update {
                unit_rows,
                ..update.clone()
            };
            self.adam
                .update(Parameters::W_DEC, &mut p.w_dec, gradients.w_dec, &update);
        }
        self.adam
            .update(Parameters::B_DEC, &mut p.b_dec, gradients.b_dec, &update);
        for (slot, (parameter, gradient)) in p.extra.iter_mut().zip(gradients.extra).enumerate() {
            self.adam.update(Parameters::EXTRA + slot, parameter, gradient, &update);
        }
        if self.architecture.bandwidth().is_some() {
            p.extra[0] = p.extra[0].clone().clamp_min(0.0);
        }
        squares
    }
}
