//! Rows of a tensor in the order of the checkpoint, a piece at a time.

use crate::Error;
use crate::header::Tensor;
use crate::source::Source;

/// Most numbers of a piece, as far as whole rows (and whole heads, where rows change places) allow.
const PIECE: usize = 1 << 20;

/// How the rows of the file go back into the checkpoint's order.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    /// They are in it.
    AsStored,
    /// Row `2 i + j` of a head becomes its row `j Dh / 2 + i`.
    Pairs {
        /// Number of heads.
        heads: usize,
    },
    /// Queries, keys and values of all heads become those of one head after those of another.
    QkvApart {
        /// Number of heads.
        heads: usize,
    },
}

/// Gives `sink` the numbers of a tensor, row after row.
pub(crate) fn read(source: &Source, tensor: &Tensor, order: Order, sink: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
    let mut pieces = Pieces {
        source,
        tensor,
        bytes: Vec::new(),
        values: Vec::new(),
    };
    let (parts, heads) = match order {
        Order::AsStored => return pieces.as_stored(sink),
        Order::Pairs { heads } => (1, heads),
        Order::QkvApart { heads } => (3, heads),
    };
    let rows = tensor.shape[0];
    let multiple = match order {
        Order::QkvApart { .. } => 3 * heads,
        _ => 2 * heads,
    };
    if heads == 0 || !rows.is_multiple_of(multiple) {
        let reason = format!(
            "tensor `{}` has {rows} rows, which {heads} heads cannot have",
            tensor.name
        );
        return Err(source.damaged(reason));
    }
    let width = tensor.numbers() / rows;
    let head = rows / parts / heads * width;
    // The numbers of a vector may lie in blocks, which hold those of several heads.
    let at_once = match tensor.shape.len() {
        1 => heads,
        _ => (PIECE / (parts * head)).clamp(1, heads),
    };
    for from in (0..heads).step_by(at_once) {
        let n = at_once.min(heads - from);
        pieces.values.clear();
        for part in 0..parts {
            pieces.append((part * heads + from) * head, n * head)?;
        }
        let stored = &pieces.values;
        let mut rows = Vec::with_capacity(stored.len());
        match order {
            Order::QkvApart { .. } => {
                for head_and_part in 0..n * parts {
                    let at = (head_and_part % parts * n + head_and_part / parts) * head;
                    rows.extend_from_slice(&stored[at..at + head]);
                }
            }
            _ => {
                for head in stored.chunks_exact(head) {
                    for half in 0..2 {
                        let half = head.chunks_exact(width).skip(half).step_by(2);
                        half.for_each(|row| rows.extend_from_slice(row));
                    }
                }
            }
        }
        sink(&rows);
    }
    Ok(())
}

struct Pieces<'a> {
    source: &'a Source,
    tensor: &'a Tensor,
    bytes: Vec<u8>,
    values: Vec<f32>,
}

impl Pieces<'_> {
    fn as_stored(&mut self, sink: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
        let numbers = self.tensor.numbers();
        let row = match self.tensor.shape.as_slice() {
            [_] => 1,
            [.., row] => *row,
            [] => return Ok(()),
        };
        // A multiple of every block, where the rows are shorter than a block.
        let piece = (PIECE / row).max(1) * row;
        for from in (0..numbers).step_by(piece) {
            self.values.clear();
            self.append(from, piece.min(numbers - from))?;
            sink(&self.values);
        }
        Ok(())
    }

    /// Appends `n` numbers from the one at `from` on.
    fn append(&mut self, from: usize, n: usize) -> Result<(), Error> {
        let (block, size) = self.tensor.kind.block();
        if !from.is_multiple_of(block) || !n.is_multiple_of(block) {
            let reason = format!(
                "tensor `{}` is a vector in blocks of {block} numbers, across which the parts of a head lie",
                self.tensor.name
            );
            return Err(self.source.damaged(reason));
        }
        self.bytes.resize(n / block * size, 0);
        let at = self.tensor.at + (from / block * size) as u64;
        self.source.read_at(at, &mut self.bytes)?;
        let known = self.values.len();
        self.values.resize(known + n, 0.0);
        self.tensor.kind.dequantise(&self.bytes, &mut self.values[known..]);
        Ok(())
    }
}
