//! Reads the keys of all config files out of the structs that parse them: names, types, doc comments and serde attributes.
//!
//! The doc comment of a field is what a user reads of its key (`saelab config explain`, `docs/config.md`), so a field without one
//! ends the build. Types are looked up by name in the crate that the file's `use` names, else in its own, else in the workspace.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use syn::punctuated::Punctuated;
use syn::{
    Attribute, Expr, ExprLit, Field, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Token, Type, UseTree,
};

type Failure = Box<dyn Error>;

/// The commands that read a config, or the files that are written like one, and the struct of each.
const ROOTS: [(&str, &str); 17] = [
    ("locate", "LocateFile"),
    ("harvest", "HarvestFile"),
    ("fit", "FitFile"),
    ("train", "TrainFile"),
    ("eval", "EvalFile"),
    ("splice", "TextFile"),
    ("truth", "TextFile"),
    ("probe", "TextFile"),
    ("masks", "MasksFile"),
    ("explain", "ExplainFile"),
    ("find", "FindFile"),
    ("circuit score", "CircuitConfig"),
    ("phenomena", "PhenomenaFile"),
    ("synthetic", "SyntheticFile"),
    ("pretrain", "PretrainFile"),
    ("sites file", "Sites"),
    ("task file", "Description"),
];

/// What the value of a type is called that is written as text and parsed further.
const TEXTS: [(&str, &str); 9] = [
    ("Attribute", "attribute"),
    ("ChatDate", "date"),
    ("HookPoint", "hook"),
    ("Node", "node"),
    ("Role", "role"),
    ("String", "text"),
    ("PathBuf", "path"),
    ("TaskName", "name"),
    ("TaskSource", "task"),
];

/// A source file that has types which are read from files.
struct Source {
    of_crate: String,
    path: PathBuf,
    items: Vec<Item>,
    /// Crates of imported names.
    imported: BTreeMap<String, String>,
}

/// A key of a table.
struct Key {
    name: String,
    doc: String,
    shape: Shape,
    is_required: bool,
}

/// What may stand at a key.
enum Shape {
    /// One value, by what it is called.
    Plain(String),
    /// One of several words, each with its meaning.
    Words(Vec<(String, String)>),
    /// Any of several shapes.
    Either(Vec<Shape>),
    List(Box<Shape>),
    /// A table whose keys are names of the user's.
    Named(Box<Shape>),
    Table(Vec<Key>),
    /// A table whose keys depend on the word at the first of them.
    Tagged(String, Vec<(String, String, Vec<Key>)>),
}

/// The Rust source of a static slice `CONFIGS` with the keys of every config.
///
/// `folders` are the crates' names and `src` folders.
///
/// # Errors
/// A file that cannot be read or parsed; a type that is not found; a key without a doc comment.
pub(crate) fn generate(folders: &[(String, PathBuf)]) -> Result<String, Failure> {
    let mut sources = Vec::new();
    for (of_crate, folder) in folders {
        collect(of_crate, folder, &mut sources)?;
    }
    let mut out = String::from("pub(crate) static CONFIGS: &[Config] = &[\n");
    for (command, name) in ROOTS {
        let (source, item) = find(&sources, name, None)?.ok_or_else(|| format!("no type {name} in the workspace"))?;
        let Item::Struct(item) = item else {
            return Err(format!("{name} is no struct").into());
        };
        let serde = Serde::of(&item.attrs)?;
        let keys = keys(&sources, source, &item.fields, serde.has_default, &BTreeMap::new())?;
        let mut lines = Vec::new();
        flatten("", &keys, "", &mut lines);
        writeln!(
            out,
            "    Config {{ command: {command:?}, about: {:?}, keys: &[",
            doc(&item.attrs)
        )?;
        for line in lines {
            writeln!(out, "        {line},")?;
        }
        writeln!(out, "    ] }},")?;
    }
    out.push_str("];\n");
    Ok(out)
}

/// Parses the files under `folder` that read anything from files.
fn collect(of_crate: &str, folder: &Path, sources: &mut Vec<Source>) -> Result<(), Failure> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(of_crate, &path, sources)?;
            continue;
        }
        let text = fs::read_to_string(&path)?;
        if path.extension().is_none_or(|extension| extension != "rs") || !text.contains("Deserialize") {
            continue;
        }
        let items = syn::parse_file(&text)
            .map_err(|error| format!("{}: {error}", path.display()))?
            .items;
        let mut imported = BTreeMap::new();
        for item in &items {
            if let Item::Use(item) = item {
                imports(&item.tree, None, &mut imported);
            }
        }
        sources.push(Source {
            of_crate: of_crate.to_owned(),
            path,
            items,
            imported,
        });
    }
    Ok(())
}

/// Notes the first segment of the path of each imported name.
fn imports(tree: &UseTree, first: Option<&str>, imported: &mut BTreeMap<String, String>) {
    match tree {
        UseTree::Path(path) => {
            let segment = path.ident.to_string();
            imports(&path.tree, Some(first.unwrap_or(&segment)), imported);
        }
        UseTree::Name(name) => {
            if let Some(first) = first {
                imported.insert(name.ident.to_string(), first.to_owned());
            }
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| imports(tree, first, imported)),
        UseTree::Rename(_) | UseTree::Glob(_) => {}
    }
}

/// The struct or enum of this name: that of the crate that `near` means, else the only one of the workspace.
fn find<'a>(
    sources: &'a [Source],
    name: &str,
    near: Option<(&Source, Option<&str>)>,
) -> Result<Option<(&'a Source, &'a Item)>, Failure> {
    let mut found = Vec::new();
    for source in sources {
        let named = source.items.iter().filter(|item| match item {
            Item::Struct(item) => item.ident == name,
            Item::Enum(item) => item.ident == name,
            _ => false,
        });
        found.extend(named.map(|item| (source, item)));
    }
    if let Some((near, qualifier)) = near {
        let imported = qualifier.or_else(|| near.imported.get(name).map(String::as_str));
        let of_crate = match imported {
            Some(other) if sources.iter().any(|source| source.of_crate == other) => other,
            _ => &near.of_crate,
        };
        let same_file = found.iter().position(|(source, _)| source.path == near.path);
        let same_crate = found.iter().position(|(source, _)| source.of_crate == of_crate);
        let is_local = imported.is_none() && same_file.is_some();
        if let Some(place) = if is_local { same_file } else { same_crate } {
            return Ok(Some(found.swap_remove(place)));
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        n => Err(format!("{n} types are called {name}, and none is near enough").into()),
    }
}

/// The keys of the fields of a struct or variant.
fn keys(
    sources: &[Source],
    source: &Source,
    fields: &Fields,
    has_default: bool,
    generics: &BTreeMap<String, Type>,
) -> Result<Vec<Key>, Failure> {
    let mut keys = Vec::new();
    for field in fields {
        let serde = Serde::of(&field.attrs)?;
        if serde.is_skipped {
            continue;
        }
        let shape = shape(sources, source, &field.ty, generics)?;
        if serde.is_flat {
            match shape {
                Shape::Table(inner) => keys.extend(inner),
                _ => return Err(format!("{}: only tables can be flattened", source.path.display()).into()),
            }
            continue;
        }
        let name = serde
            .rename
            .clone()
            .or_else(|| field.ident.as_ref().map(ToString::to_string))
            .ok_or_else(|| format!("{}: a field without a name", source.path.display()))?;
        let doc = doc(&field.attrs);
        if doc.is_empty() {
            let place = source.path.display();
            return Err(format!(
                "{place}: config key `{name}` has no doc comment; say what it is, its unit and default"
            )
            .into());
        }
        let is_required = !has_default && !serde.has_default && !is_option(field);
        keys.push(Key {
            name,
            doc,
            shape,
            is_required,
        });
    }
    Ok(keys)
}

fn is_option(field: &Field) -> bool {
    matches!(&field.ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

/// What may stand where this type is read.
fn shape(sources: &[Source], source: &Source, ty: &Type, generics: &BTreeMap<String, Type>) -> Result<Shape, Failure> {
    let path = match ty {
        Type::Path(path) => &path.path,
        Type::Array(array) => return Ok(Shape::List(Box::new(shape(sources, source, &array.elem, generics)?))),
        _ => return Err(format!("{}: a config field of a type that has no name", source.path.display()).into()),
    };
    let last = path.segments.last().ok_or("a type without a name")?;
    let name = last.ident.to_string();
    let inner: Vec<&Type> = match &last.arguments {
        PathArguments::AngleBracketed(arguments) => arguments
            .args
            .iter()
            .filter_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    if let Some(ty) = generics.get(&name) {
        return shape(sources, source, ty, &BTreeMap::new());
    }
    let plain = |text: &str| Ok(Shape::Plain(text.to_owned()));
    match (name.as_str(), inner.as_slice()) {
        ("Option" | "Box", [inner]) => return shape(sources, source, inner, generics),
        ("Vec" | "BTreeSet", [inner]) => return Ok(Shape::List(Box::new(shape(sources, source, inner, generics)?))),
        ("BTreeMap", [_, inner]) => return Ok(Shape::Named(Box::new(shape(sources, source, inner, generics)?))),
        ("bool", _) => return plain("true or false"),
        ("usize" | "u64" | "u32" | "u16" | "u8", _) => return plain("whole number"),
        ("f64" | "f32", _) => return plain("number"),
        _ => {}
    }
    if let Some((_, text)) = TEXTS.iter().find(|(known, _)| *known == name) {
        return plain(text);
    }
    let qualifier = (path.segments.len() > 1).then(|| path.segments[0].ident.to_string());
    let found = find(sources, &name, Some((source, qualifier.as_deref())))?;
    let Some((source, item)) = found else {
        return Err(format!("{}: no type {name} in the workspace", source.path.display()).into());
    };
    of_item(sources, source, item, &inner)
}

/// What may stand where this struct or enum is read.
fn of_item(sources: &[Source], source: &Source, item: &Item, arguments: &[&Type]) -> Result<Shape, Failure> {
    let (attributes, generics) = match item {
        Item::Struct(item) => (&item.attrs, &item.generics),
        Item::Enum(item) => (&item.attrs, &item.generics),
        _ => return Err("neither a struct nor an enum".into()),
    };
    let serde = Serde::of(attributes)?;
    let names = generics.type_params().map(|parameter| parameter.ident.to_string());
    let generics: BTreeMap<String, Type> = names.zip(arguments.iter().map(|ty| (*ty).clone())).collect();
    if !derives_deserialize(attributes) {
        return Ok(Shape::Plain("text".to_owned()));
    }
    if let Some(other) = &serde.read_as {
        return shape(sources, source, &syn::parse_str(other)?, &generics);
    }
    match item {
        Item::Struct(item) => match &item.fields {
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                shape(sources, source, &fields.unnamed[0].ty, &generics)
            }
            fields => Ok(Shape::Table(keys(
                sources,
                source,
                fields,
                serde.has_default,
                &generics,
            )?)),
        },
        Item::Enum(item) if serde.is_untagged => {
            let mut shapes = Vec::new();
            for variant in &item.variants {
                for field in &variant.fields {
                    shapes.push(shape(sources, source, &field.ty, &generics)?);
                }
            }
            Ok(Shape::Either(shapes))
        }
        Item::Enum(item) => {
            let mut variants = Vec::new();
            for variant in &item.variants {
                let of_variant = Serde::of(&variant.attrs)?;
                let name = match of_variant.rename {
                    Some(name) => name,
                    None => serde.renamed(&variant.ident.to_string())?,
                };
                let keys = keys(sources, source, &variant.fields, false, &generics)?;
                variants.push((name, doc(&variant.attrs), keys));
            }
            match serde.tag {
                Some(tag) => Ok(Shape::Tagged(tag, variants)),
                None => Ok(Shape::Words(
                    variants.into_iter().map(|(name, doc, _)| (name, doc)).collect(),
                )),
            }
        }
        _ => Err("neither a struct nor an enum".into()),
    }
}

/// Appends the source of each key below `prefix`; `when` says under which condition a table has them.
fn flatten(prefix: &str, keys: &[Key], when: &str, lines: &mut Vec<String>) {
    for key in keys {
        let path = format!("{prefix}{}", key.name);
        let words = match innermost(&key.shape) {
            Shape::Words(words) => words.as_slice(),
            _ => &[],
        };
        lines.push(format!(
            "Key {{ path: {path:?}, value: {:?}, doc: {:?}, is_required: {}, when: {when:?}, words: &{words:?} }}",
            called(&key.shape),
            key.doc,
            key.is_required
        ));
        below(&path, &key.shape, when, lines);
    }
}

/// The shape of the entries of a list, of a list of lists, of alternatives.
fn innermost(shape: &Shape) -> &Shape {
    match shape {
        Shape::List(inner) | Shape::Named(inner) => innermost(inner),
        Shape::Either(shapes) => shapes
            .iter()
            .map(innermost)
            .find(|shape| matches!(shape, Shape::Words(_)))
            .unwrap_or(shape),
        other => other,
    }
}

/// Appends what stands below the key at `path`.
fn below(path: &str, shape: &Shape, when: &str, lines: &mut Vec<String>) {
    match shape {
        Shape::Table(keys) => flatten(&format!("{path}."), keys, when, lines),
        Shape::List(inner) => below(&format!("{path}.N"), inner, when, lines),
        Shape::Named(inner) => below(&format!("{path}.NAME"), inner, when, lines),
        Shape::Tagged(tag, variants) => {
            let words: Vec<(&String, &String)> = variants.iter().map(|(name, doc, _)| (name, doc)).collect();
            lines.push(format!(
                "Key {{ path: {:?}, value: \"word\", doc: \"Which keys the table has.\", is_required: true, when: {when:?}, words: \
                 &{words:?} }}",
                format!("{path}.{tag}")
            ));
            for (name, _, keys) in variants {
                flatten(&format!("{path}."), keys, &format!("{tag} = \"{name}\""), lines);
            }
        }
        Shape::Plain(_) | Shape::Words(_) | Shape::Either(_) => {}
    }
}

/// What a value of this shape is called.
fn called(shape: &Shape) -> String {
    match shape {
        Shape::Plain(name) => name.clone(),
        Shape::Words(_) => "word".to_owned(),
        Shape::Either(shapes) => shapes.iter().map(called).collect::<Vec<_>>().join(" or "),
        Shape::List(inner) => match called(inner).as_str() {
            "true or false" => "list of true or false".to_owned(),
            one => format!("list of {one}s"),
        },
        Shape::Named(_) | Shape::Table(_) | Shape::Tagged(..) => "table".to_owned(),
    }
}

/// The doc comment as one paragraph, without links of rustdoc.
fn doc(attributes: &[Attribute]) -> String {
    let mut text = String::new();
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(ExprLit {
                lit: Lit::Str(line), ..
            }) = &meta.value
        {
            text.push_str(line.value().trim());
            text.push(' ');
        }
    }
    // What a link in brackets points to is for those who read the source.
    while let Some(start) = text.find(" ([`") {
        match text[start..].find("`])") {
            Some(end) => text.replace_range(start..start + end + 3, ""),
            None => break,
        }
    }
    let text = text.replace("[`", "`").replace("`]", "`");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn derives_deserialize(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"))
        .any(|attribute| {
            attribute
                .parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated)
                .is_ok_and(|paths| {
                    paths
                        .iter()
                        .any(|path| path.segments.last().is_some_and(|last| last.ident == "Deserialize"))
                })
        })
}

/// What serde attributes say, as far as it changes names and types.
#[derive(Default)]
struct Serde {
    rename: Option<String>,
    rename_all: Option<String>,
    tag: Option<String>,
    read_as: Option<String>,
    is_untagged: bool,
    is_flat: bool,
    is_skipped: bool,
    has_default: bool,
}

impl Serde {
    fn of(attributes: &[Attribute]) -> Result<Self, Failure> {
        let mut serde = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            let metas = attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
            for meta in metas {
                let value = match &meta {
                    Meta::NameValue(meta) => match &meta.value {
                        Expr::Lit(ExprLit {
                            lit: Lit::Str(text), ..
                        }) => Some(text.value()),
                        _ => None,
                    },
                    _ => None,
                };
                let name = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
                match name.as_str() {
                    "rename" => serde.rename = value,
                    "rename_all" => serde.rename_all = value,
                    "tag" => serde.tag = value,
                    "from" | "try_from" => serde.read_as = value,
                    "untagged" => serde.is_untagged = true,
                    "flatten" => serde.is_flat = true,
                    "skip" | "skip_deserializing" => serde.is_skipped = true,
                    "default" => serde.has_default = true,
                    _ => {}
                }
            }
        }
        Ok(serde)
    }

    /// A variant's name as it is written in files.
    fn renamed(&self, name: &str) -> Result<String, Failure> {
        let separator = match self.rename_all.as_deref() {
            None => return Ok(name.to_owned()),
            Some("lowercase") => "",
            Some("kebab-case") => "-",
            Some("snake_case") => "_",
            Some(other) => return Err(format!("rename_all = \"{other}\" is not known").into()),
        };
        let mut out = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !out.is_empty() {
                out.push_str(separator);
            }
            out.extend(letter.to_lowercase());
        }
        Ok(out)
    }
}
