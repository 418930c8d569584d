//! What the spans of a segment share: resources, scopes, and the shapes of their attributes.
//!
//! A shape is a list of attribute keys with types. Few shapes fill many spans, so a span says its shape by number, and
//! its values lie in one column per frequent (key, type) or, where that is not worth a column, in its residual bytes.
//! Together they give back exactly the attributes that were sent, in their order.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::model::{AnyValue, Resource, Scope, Span};
use crate::store::codec::{Damaged, Reader, put_bytes, put_resource, put_scope, put_varint};

/// Attribute columns of a segment, at most; the most frequent ones.
const MAX_COLUMNS: usize = 64;

/// One column is worth its cost if at least one of this many spans uses it.
const SPANS_PER_USE: u64 = 1000;

/// Type of an attribute's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ColumnKind {
    String,
    Bool,
    Int,
    Double,
}

impl ColumnKind {
    const ALL: [Self; 4] = [Self::String, Self::Bool, Self::Int, Self::Double];

    /// Returns the type of the column that can hold the value; none for what is always residual.
    pub(super) fn of(value: &AnyValue) -> Option<Self> {
        match value {
            AnyValue::String(_) => Some(Self::String),
            AnyValue::Bool(_) => Some(Self::Bool),
            AnyValue::Int(_) => Some(Self::Int),
            AnyValue::Double(_) => Some(Self::Double),
            AnyValue::Empty | AnyValue::Bytes(_) | AnyValue::Array(_) | AnyValue::Map(_) => None,
        }
    }
}

/// An attribute's column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) key: Arc<str>,
    pub(super) kind: ColumnKind,
}

impl Column {
    /// Returns its name in the Parquet file.
    pub(super) fn name(&self) -> String {
        let kind = match self.kind {
            ColumnKind::String => "string",
            ColumnKind::Bool => "bool",
            ColumnKind::Int => "int",
            ColumnKind::Double => "double",
        };
        format!("attributes.{kind}.{}", self.key)
    }
}

/// One attribute in a shape: its key and, unless it is residual, its column.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ShapeItem {
    pub(super) key: Arc<str>,
    pub(super) column: Option<usize>,
}

/// What the spans share. The numbers in a span's row are indices here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Dictionary {
    pub(super) columns: Vec<Column>,
    pub(super) shapes: Vec<Vec<ShapeItem>>,
    pub(super) resources: Vec<Arc<Resource>>,
    pub(super) scopes: Vec<Arc<Scope>>,
}

/// A span's numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) shape: u32,
    pub(super) resource: u32,
    pub(super) scope: u32,
}

/// Returns the dictionary of some spans, and each span's numbers in it.
pub(super) fn build(spans: &[&Span]) -> (Dictionary, Vec<Numbers>) {
    let mut builder = Builder::default();
    let numbers = spans.iter().map(|span| builder.add(span)).collect();
    (builder.finish(spans.len() as u64), numbers)
}

type RawShape = Vec<(Arc<str>, Option<ColumnKind>)>;

#[derive(Default)]
struct Builder {
    shapes: Vec<(RawShape, u64)>,
    shape_by_hash: HashMap<u64, Vec<u32>>,
    resources: Interner<Resource>,
    scopes: Interner<Scope>,
}

impl Builder {
    fn add(&mut self, span: &Span) -> Numbers {
        Numbers {
            shape: self.shape(span),
            resource: self.resources.number(&span.resource, |resource, out| put_resource(out, resource)),
            scope: self.scopes.number(&span.scope, |scope, out| put_scope(out, scope)),
        }
    }

    fn shape(&mut self, span: &Span) -> u32 {
        let mut hasher = DefaultHasher::new();
        for attribute in &span.attributes {
            attribute.key.hash(&mut hasher);
            ColumnKind::of(&attribute.value).hash(&mut hasher);
        }
        let candidates = self.shape_by_hash.entry(hasher.finish()).or_default();
        for number in candidates.iter() {
            if let Some((shape, uses)) = self.shapes.get_mut(*number as usize)
                && is_shape_of(shape, span)
            {
                *uses += 1;
                return *number;
            }
        }
        let number = self.shapes.len() as u32;
        candidates.push(number);
        let shape = span.attributes.iter().map(|pair| (Arc::clone(&pair.key), ColumnKind::of(&pair.value)));
        self.shapes.push((shape.collect(), 1));
        number
    }

    fn finish(self, spans: u64) -> Dictionary {
        let mut uses: HashMap<(&Arc<str>, ColumnKind), u64> = HashMap::new();
        for (shape, count) in &self.shapes {
            for (key, kind) in shape {
                if let Some(kind) = kind {
                    *uses.entry((key, *kind)).or_default() += count;
                }
            }
        }
        let mut ranked: Vec<_> = uses.into_iter().filter(|(_, uses)| uses * SPANS_PER_USE >= spans).collect();
        ranked.sort_unstable_by(|(a, a_uses), (b, b_uses)| b_uses.cmp(a_uses).then_with(|| a.cmp(b)));
        ranked.truncate(MAX_COLUMNS);
        let columns: Vec<Column> =
            ranked.into_iter().map(|((key, kind), _)| Column { key: Arc::clone(key), kind }).collect();
        let column_by_key: HashMap<_, _> =
            columns.iter().enumerate().map(|(index, column)| ((&*column.key, column.kind), index)).collect();
        let shapes = self.shapes.iter().map(|(shape, _)| located(shape, &column_by_key)).collect();
        Dictionary { shapes, resources: self.resources.items, scopes: self.scopes.items, columns }
    }
}

fn is_shape_of(shape: &RawShape, span: &Span) -> bool {
    shape.len() == span.attributes.len()
        && shape
            .iter()
            .zip(&span.attributes)
            .all(|((key, kind), pair)| *key == pair.key && *kind == ColumnKind::of(&pair.value))
}

/// Returns a shape with its columns. A key that comes twice has its second value in the residual bytes.
fn located(shape: &RawShape, columns: &HashMap<(&str, ColumnKind), usize>) -> Vec<ShapeItem> {
    let mut items: Vec<ShapeItem> = Vec::with_capacity(shape.len());
    for (key, kind) in shape {
        let column = kind.and_then(|kind| columns.get(&(&**key, kind)).copied());
        let is_taken = column.is_some() && items.iter().any(|item| item.column == column);
        items.push(ShapeItem { key: Arc::clone(key), column: column.filter(|_| !is_taken) });
    }
    items
}

/// Numbers for equal items: first by address, since requests share them, then by content.
struct Interner<T> {
    items: Vec<Arc<T>>,
    by_address: HashMap<*const T, u32>,
    by_content: HashMap<Vec<u8>, u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { items: Vec::new(), by_address: HashMap::new(), by_content: HashMap::new() }
    }
}

impl<T> Interner<T> {
    fn number(&mut self, item: &Arc<T>, encode: impl Fn(&T, &mut Vec<u8>)) -> u32 {
        if let Some(number) = self.by_address.get(&Arc::as_ptr(item)) {
            return *number;
        }
        let mut content = Vec::new();
        encode(item, &mut content);
        let number = *self.by_content.entry(content).or_insert_with(|| {
            self.items.push(Arc::clone(item));
            self.items.len() as u32 - 1
        });
        self.by_address.insert(Arc::as_ptr(item), number);
        number
    }
}

impl Dictionary {
    /// Returns the bytes that [`Dictionary::decode`] takes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.columns.len() as u64);
        for column in &self.columns {
            put_bytes(&mut out, column.key.as_bytes());
            out.push(column.kind as u8);
        }
        put_varint(&mut out, self.shapes.len() as u64);
        for shape in &self.shapes {
            put_varint(&mut out, shape.len() as u64);
            for item in shape {
                match item.column {
                    Some(column) => put_varint(&mut out, column as u64 + 1),
                    None => {
                        put_varint(&mut out, 0);
                        put_bytes(&mut out, item.key.as_bytes());
                    }
                }
            }
        }
        put_varint(&mut out, self.resources.len() as u64);
        self.resources.iter().for_each(|resource| put_resource(&mut out, resource));
        put_varint(&mut out, self.scopes.len() as u64);
        self.scopes.iter().for_each(|scope| put_scope(&mut out, scope));
        out
    }

    /// Returns what [`Dictionary::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let mut dictionary = Self::default();
        for _ in 0..reader.count()? {
            let key = reader.text()?.into();
            let [kind] = reader.array()?;
            let kind = *ColumnKind::ALL.get(usize::from(kind)).ok_or(Damaged)?;
            dictionary.columns.push(Column { key, kind });
        }
        for _ in 0..reader.count()? {
            let shape = decode_shape(&mut reader, &dictionary.columns)?;
            dictionary.shapes.push(shape);
        }
        for _ in 0..reader.count()? {
            dictionary.resources.push(Arc::new(reader.resource()?));
        }
        for _ in 0..reader.count()? {
            dictionary.scopes.push(Arc::new(reader.scope()?));
        }
        Ok(dictionary)
    }
}

fn decode_shape(reader: &mut Reader<'_>, columns: &[Column]) -> Result<Vec<ShapeItem>, Damaged> {
    let count = reader.count()?;
    (0..count)
        .map(|_| match reader.varint()?.checked_sub(1) {
            None => Ok(ShapeItem { key: reader.text()?.into(), column: None }),
            Some(column) => {
                let column = usize::try_from(column).map_err(|_| Damaged)?;
                let key = Arc::clone(&columns.get(column).ok_or(Damaged)?.key);
                Ok(ShapeItem { key, column: Some(column) })
            }
        })
        .collect()
}
