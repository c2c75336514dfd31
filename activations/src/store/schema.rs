//! The columns of a shard, and the way between rows and Arrow record batches.
//!
//! The vectors are fixed-size binary: the numbers of a vector one after the other, little-endian. Everything else is a plain
//! column that any reader filters by.
//!
//! Shapes: `N` rows of a batch, `W` numbers per vector.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float32Array, StringArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use tasks::{Attribute, Labels, Role};

/// The column of the vectors; it comes first.
pub(super) const ACTIVATION: &str = "activation";
/// Metadata of a field that holds the name of an attribute.
const ATTRIBUTE: &str = "saelab.attribute";
/// Columns with minimum and maximum per row group in the footer, by which row groups are skipped.
pub(super) const PRUNED: [&str; 5] = ["row", "document", "position", "token", "role"];

/// Where one stored vector came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Whether it is position 0 or a special token; those are stored only when the config asks for them.
    pub special: bool,
    /// Values of the task's attributes; prompts only.
    pub labels: Option<Labels>,
}

impl Row {
    /// Appends the row in a fixed byte order, for checksums.
    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        for id in [self.row, self.document, self.position, self.token] {
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes.push(u8::from(self.special));
        bytes.extend_from_slice(self.role.map(|role| role.to_string()).unwrap_or_default().as_bytes());
        bytes.push(b';');
        for (_, label) in self.labels.iter().flat_map(Labels::iter) {
            bytes.extend_from_slice(&(label as u64).to_le_bytes());
        }
        bytes.push(b';');
    }
}

/// The label column of an attribute: its name in lower case. Where the column alone does not tell the name, as those of the
/// built-in tasks do, the field says it.
fn label_field(attribute: Attribute) -> Field {
    let column = attribute.as_str().to_lowercase();
    let is_told = Attribute::built_in_ignoring_case(&column) == Some(attribute);
    let field = Field::new(column, DataType::UInt32, true);
    match is_told {
        true => field,
        false => field.with_metadata(HashMap::from([(ATTRIBUTE.to_owned(), attribute.to_string())])),
    }
}

/// The attribute that a column holds the labels of, if it does.
fn attribute_of(field: &Field) -> Result<Option<Attribute>, String> {
    match field.metadata().get(ATTRIBUTE) {
        Some(name) => name.parse().map(Some).map_err(|error: tasks::Error| error.to_string()),
        None => Ok(Attribute::built_in_ignoring_case(field.name())),
    }
}

/// The attributes that rows are labelled with; all rows of a store are prompts of one task, or text.
fn labelled(rows: &[Row]) -> Vec<Attribute> {
    let labels = rows.first().and_then(|row| row.labels.as_ref());
    labels.into_iter().flat_map(Labels::attributes).collect()
}

/// The columns beside the vectors.
fn provenance_fields(rows: &[Row]) -> Vec<Field> {
    let mut fields = vec![
        Field::new("row", DataType::UInt32, false),
        Field::new("document", DataType::UInt32, false),
        Field::new("position", DataType::UInt32, false),
        Field::new("role", DataType::Utf8, true),
        Field::new("token", DataType::UInt32, false),
        Field::new("special", DataType::Boolean, false),
    ];
    fields.extend(labelled(rows).into_iter().map(label_field));
    fields
}

/// The bytes of a vector that a shard's schema declares, if its vectors are binary.
pub(super) fn declared_bytes(schema: &Schema) -> Option<usize> {
    match schema.field_with_name(ACTIVATION).ok()?.data_type() {
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).ok(),
        _ => None,
    }
}

/// The schema of rows whose vectors have so many bytes.
pub(super) fn binary_schema(rows: &[Row], bytes: usize) -> Schema {
    let mut fields = vec![Field::new(ACTIVATION, DataType::FixedSizeBinary(bytes as i32), false)];
    fields.extend(provenance_fields(rows));
    Schema::new(fields)
}

/// Rows and their values (`[N, W]`) as one record batch whose vectors are lists of numbers, for readers that want them so.
pub(super) fn to_list_batch(rows: &[Row], values: Vec<f32>, width: usize) -> Result<RecordBatch, ArrowError> {
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let numbers: ArrayRef = Arc::new(Float32Array::from(values));
    let list = FixedSizeListArray::try_new(item.clone(), width as i32, numbers, None)?; // [N, W]
    let mut columns: Vec<ArrayRef> = vec![Arc::new(list)];
    columns.extend(provenance_columns(rows));
    let mut fields = vec![Field::new(
        ACTIVATION,
        DataType::FixedSizeList(item, width as i32),
        false,
    )];
    fields.extend(provenance_fields(rows));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The columns beside the vectors, in the order of the schema.
pub(super) fn provenance_columns(rows: &[Row]) -> Vec<ArrayRef> {
    let column = |read: fn(&Row) -> u32| -> ArrayRef { Arc::new(rows.iter().map(read).collect::<UInt32Array>()) };
    let roles: StringArray = rows.iter().map(|row| row.role.map(|role| role.to_string())).collect();
    let special: BooleanArray = rows.iter().map(|row| Some(row.special)).collect();
    let mut columns: Vec<ArrayRef> = vec![
        column(|row| row.row),
        column(|row| row.document),
        column(|row| row.position),
        Arc::new(roles),
        column(|row| row.token),
        Arc::new(special),
    ];
    for attribute in labelled(rows) {
        let label = |row: &Row| row.labels.as_ref()?.get(attribute).map(|value| value as u32);
        let labels = rows.iter().map(label);
        columns.push(Arc::new(labels.collect::<UInt32Array>()));
    }
    columns
}

/// Appends the rows of a record batch; its vectors are not looked at. The message of an error is for
/// [`crate::Error::Truncated`].
pub(super) fn rows_of(batch: &RecordBatch, rows: &mut Vec<Row>) -> Result<(), String> {
    let ids = ["row", "document", "position", "token"].map(|name| numbers_of(batch, name));
    let [row, document, position, token] = ids;
    let (row, document, position, token) = (row?, document?, position?, token?);
    let special = column(batch, "special")?
        .as_boolean_opt()
        .ok_or("column special is not boolean")?;
    if [row, document, position, token].iter().any(|ids| ids.null_count() > 0) || special.null_count() > 0 {
        return Err("a column of ids has nulls".to_owned());
    }
    let role = column(batch, "role")?
        .as_string_opt::<i32>()
        .ok_or("column role is not text")?;
    let mut labels = Vec::new();
    for field in batch.schema().fields() {
        if let Some(attribute) = attribute_of(field)? {
            labels.push((attribute, numbers_of(batch, field.name())?));
        }
    }
    for index in 0..batch.num_rows() {
        let role = match role.is_valid(index) {
            true => Some(Role::from_str(role.value(index)).map_err(|error| error.to_string())?),
            false => None,
        };
        let valued = labels.iter().filter(|(_, column)| column.is_valid(index));
        let read: Labels = valued
            .map(|(attribute, column)| (*attribute, column.value(index) as usize))
            .collect();
        rows.push(Row {
            row: row.value(index),
            document: document.value(index),
            position: position.value(index),
            role,
            token: token.value(index),
            special: special.value(index),
            labels: (!read.is_empty()).then_some(read),
        });
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(names: &[&str]) -> Row {
        let labels = names
            .iter()
            .zip(3..)
            .map(|(name, value)| (name.parse().unwrap(), value));
        Row {
            labels: Some(labels.collect()),
            ..Row::default()
        }
    }

    #[test]
    fn labels_of_any_task_are_read_back_under_their_own_names() {
        for names in [&["IO", "S", "Pos"][..], &["Number", "OtherNumber", "noun", "pos"]] {
            let rows = [row(names)];
            let batch = to_list_batch(&rows, vec![0.0; 2], 2).unwrap();
            for name in names {
                assert!(batch.column_by_name(&name.to_lowercase()).is_some(), "{name}");
            }
            let mut read = Vec::new();
            rows_of(&batch, &mut read).unwrap();
            assert_eq!(read, rows);
        }
    }

    #[test]
    fn no_attribute_of_a_task_file_has_the_column_of_something_else() {
        let fields = provenance_fields(&[]);
        let columns = fields.iter().map(|field| field.name().as_str()).chain([ACTIVATION]);
        for column in columns {
            assert!(tasks::STORE_COLUMNS.contains(&column), "{column}");
        }
    }
}
