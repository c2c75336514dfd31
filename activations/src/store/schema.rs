//! The columns of a shard, and the way between rows and Arrow record batches.
//!
//! Shapes: `N` rows of a batch, `W` numbers per vector.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, UInt32Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tasks::{Attribute, Labels, Role};

/// Where one stored vector came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Index of the prompt, or of the window of text, in the order of the source.
    pub row: u32,
    /// Index of the document; of the prompt when the source is prompts.
    pub document: u32,
    /// Token position in the sequence that the model read; position 0 is the beginning-of-text token.
    pub position: u32,
    /// The semantic position; prompts only.
    pub role: Option<Role>,
    /// Token id at the position.
    pub token: u32,
    /// Values of the attributes; prompts only.
    pub labels: Option<Labels>,
}

/// Names of the label columns, in the order of [`Attribute::ALL`].
fn label_columns() -> impl Iterator<Item = String> {
    Attribute::ALL
        .iter()
        .map(|attribute| attribute.to_string().to_lowercase())
}

/// The columns of a shard whose vectors are `width` wide.
pub(super) fn schema(width: usize) -> Schema {
    let mut fields = vec![
        Field::new("activation", DataType::FixedSizeList(item_field(), width as i32), false),
        Field::new("row", DataType::UInt32, false),
        Field::new("document", DataType::UInt32, false),
        Field::new("position", DataType::UInt32, false),
        Field::new("role", DataType::Utf8, true),
        Field::new("token", DataType::UInt32, false),
    ];
    fields.extend(label_columns().map(|name| Field::new(name, DataType::UInt32, true)));
    Schema::new(fields)
}

/// The vector width that a shard's schema declares, if its first column is a list of f32.
pub(super) fn declared_width(schema: &Schema) -> Option<usize> {
    match schema.field_with_name("activation").ok()?.data_type() {
        DataType::FixedSizeList(item, width) if *item.data_type() == DataType::Float32 => usize::try_from(*width).ok(),
        _ => None,
    }
}

/// Rows and their values (`[N, W]`, row after row) as one record batch.
pub(super) fn to_batch(rows: &[Row], values: Vec<f32>, width: usize) -> Result<RecordBatch, ArrowError> {
    let numbers: ArrayRef = Arc::new(Float32Array::from(values));
    let numbers = FixedSizeListArray::try_new(item_field(), width as i32, numbers, None)?; // [N, W]
    let column = |read: fn(&Row) -> u32| -> ArrayRef { Arc::new(rows.iter().map(read).collect::<UInt32Array>()) };
    let roles: StringArray = rows.iter().map(|row| row.role.map(|role| role.to_string())).collect();
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(numbers),
        column(|row| row.row),
        column(|row| row.document),
        column(|row| row.position),
        Arc::new(roles),
        column(|row| row.token),
    ];
    for attribute in 0..Attribute::ALL.len() {
        let labels = rows.iter().map(|row| row.labels.map(|labels| labels[attribute] as u32));
        columns.push(Arc::new(labels.collect::<UInt32Array>()));
    }
    RecordBatch::try_new(Arc::new(schema(width)), columns)
}

/// Appends the rows of a record batch and their values (`[N, W]`); the message of an error is for
/// [`crate::Error::Truncated`].
pub(super) fn from_batch(batch: &RecordBatch, rows: &mut Vec<Row>, values: &mut Vec<f32>) -> Result<(), String> {
    let list = column(batch, "activation")?
        .as_fixed_size_list_opt()
        .ok_or("column activation is not a list")?;
    let numbers = list
        .values()
        .as_primitive_opt::<Float32Type>()
        .ok_or("column activation is not f32")?;
    if list.null_count() + numbers.null_count() > 0 {
        return Err("column activation has nulls".to_owned());
    }
    values.extend_from_slice(numbers.values()); // [N, W]

    let ids = ["row", "document", "position", "token"].map(|name| numbers_of(batch, name));
    let [row, document, position, token] = ids;
    let (row, document, position, token) = (row?, document?, position?, token?);
    if [row, document, position, token].iter().any(|ids| ids.null_count() > 0) {
        return Err("a column of ids has nulls".to_owned());
    }
    let role = column(batch, "role")?
        .as_string_opt::<i32>()
        .ok_or("column role is not text")?;
    let labels = label_columns()
        .map(|name| numbers_of(batch, &name))
        .collect::<Result<Vec<_>, _>>()?;
    for index in 0..batch.num_rows() {
        let role = match role.is_valid(index) {
            true => Some(Role::from_str(role.value(index)).map_err(|error| error.to_string())?),
            false => None,
        };
        let mut read = Labels::default();
        for (value, column) in read.iter_mut().zip(&labels) {
            *value = column.value(index) as usize;
        }
        rows.push(Row {
            row: row.value(index),
            document: document.value(index),
            position: position.value(index),
            role,
            token: token.value(index),
            labels: labels.iter().all(|column| column.is_valid(index)).then_some(read),
        });
    }
    Ok(())
}

fn item_field() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    batch
        .column_by_name(name)
        .ok_or_else(|| format!("column {name} is missing"))
}

fn numbers_of<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a UInt32Array, String> {
    column(batch, name)?
        .as_primitive_opt::<UInt32Type>()
        .ok_or_else(|| format!("column {name} is not u32"))
}
