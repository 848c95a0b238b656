//! What is checked before a document reaches the engine, cheapest first. The engine's parser recurses on brackets and
//! its walk over fragments is exponential, so the order is: size, nesting, parse, fragments, expansion. Then comes
//! what the specification asks for and the engine leaves out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::{
    IntrospectionMode, Name, Pos, Request, ServerError, Value, Variables,
    parser::{
        self, parse_query,
        types::{
            DocumentOperations, ExecutableDocument, Field, OperationDefinition, OperationType, Selection,
            SelectionSet,
        },
    },
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{error::Code, limits::Limits};

/// The most that may be asked of the schema at once. What tools ask for comes to some 300,000.
const MOST_INTROSPECTION: usize = 1_000_000;

/// The parameters of a GraphQL request, typed as the protocols want them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Params {
    /// The document.
    pub query: Option<String>,
    /// Which of the document's operations; absent and empty are the same.
    pub operation_name: Option<String>,
    /// Values of the operation's variables.
    pub variables: Option<Variables>,
    /// Whatever else a client and a server agree upon.
    pub extensions: Option<BTreeMap<String, Value>>,
}

/// Why a request is not executed. The text is written for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GuardError {
    /// Whose fault, in one word.
    pub code: Code,
    /// One line.
    pub message: String,
    /// Where in the document.
    pub locations: Vec<Pos>,
}

impl GuardError {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), locations: Vec::new() }
    }

    fn at(mut self, pos: Pos) -> Self {
        self.locations.push(pos);
        self
    }
}

impl From<GuardError> for ServerError {
    fn from(error: GuardError) -> Self {
        let mut server = error.code.error(error.message);
        server.locations = error.locations;
        server
    }
}

impl From<parser::Error> for GuardError {
    fn from(error: parser::Error) -> Self {
        let locations = error.positions().collect();
        match &error {
            // The parser draws the place with several lines of text; what it expected is in the last.
            parser::Error::Syntax { message, .. } => {
                let expected = message.lines().rev().find_map(|line| line.trim_start().strip_prefix("= "));
                let message = expected.map_or_else(
                    || "Syntax error".to_owned(),
                    |expected| format!("Syntax error: {}", expected.replace('_', " ")),
                );
                Self { code: Code::ParseFailed, message, locations }
            }
            parser::Error::RecursionLimitExceeded => {
                Self { locations, ..Self::new(Code::QueryTooComplex, "The document is nested too deep.") }
            }
            parser::Error::MissingOperation => {
                Self { locations, ..Self::new(Code::ParseFailed, "The document has no operation.") }
            }
            parser::Error::MultipleOperations { .. } => Self {
                locations,
                ..Self::new(Code::ValidationFailed, "An operation without a name must be the only one.")
            },
            other => Self { locations, ..Self::new(Code::ValidationFailed, capital(&other.to_string())) },
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

/// A request that may be executed.
#[derive(Debug)]
pub struct Checked {
    /// With its document parsed.
    pub request: Request,
    /// What kind of operation it asks for.
    pub kind: OperationType,
    introspects: bool,
}

impl Checked {
    /// Lets the service prepare the request, and refuses introspection where it did so without; the engine would
    /// answer `null`.
    pub(super) fn prepared(self, prepare: impl FnOnce(Request) -> Request) -> Result<Request, GuardError> {
        let request = prepare(self.request);
        if self.introspects && request.introspection_mode == IntrospectionMode::Disabled {
            return Err(no_introspection());
        }
        Ok(request)
    }
}

/// Postgres keeps no text with it, and nobody means it: refused once here instead of in every field.
fn nul(what: &str) -> GuardError {
    GuardError::new(
        Code::BadUserInput,
        format!("{what} holds a NUL character (U+0000), which no text may hold."),
    )
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::List(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

fn no_introspection() -> GuardError {
    GuardError::new(Code::ValidationFailed, "Introspection is switched off on this server.")
}

/// Turns parameters into requests that the engine can stand.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    documents: Documents,
}

impl Guard {
    /// A guard with an empty cache.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            documents: Documents::new(limits.cached_documents, limits.cached_bytes),
        }
    }

    /// Checks one request.
    ///
    /// # Errors
    /// With the first reason not to execute it.
    pub fn check(&self, params: Params) -> Result<Checked, GuardError> {
        let Params { query, operation_name, variables, extensions } = params;
        let extensions = extensions.unwrap_or_default();
        let query = query.unwrap_or_default();
        let document = match (query.is_empty(), persisted(&extensions)?) {
            (true, None) => {
                return Err(GuardError::new(Code::BadUserInput, "The parameter `query` is missing."));
            }
            // What clients of automatic persisted queries look for; they send the document next.
            (true, Some(hash)) => self
                .documents
                .get(&hash)
                .ok_or_else(|| GuardError::new(Code::PersistedQueryNotFound, "PersistedQueryNotFound"))?,
            (false, hash) => self.document(&query, hash)?,
        };
        if document.introspects && !self.limits.introspection {
            return Err(no_introspection());
        }
        let operation_name = operation_name.filter(|name| !name.is_empty());
        let operation = operation(&document.parsed, operation_name.as_deref())?;
        let mut variables = variables.unwrap_or_default();
        required_variables(operation, &variables)?;
        if let Some((name, _)) = variables.iter().find(|(_, value)| holds_nul(value)) {
            return Err(nul(&format!("The variable \"${name}\"")));
        }
        sizes_left_out(operation, &document.sizes, &mut variables);
        if operation.ty == OperationType::Subscription {
            single_root(&document.parsed, operation)?;
        }
        let (kind, introspects) = (operation.ty, document.introspects);

        let mut request = Request::new(query).variables(variables);
        request.operation_name = operation_name;
        request.extensions.0.extend(extensions);
        request.set_parsed_query(document.parsed.clone());
        Ok(Checked { request, kind, introspects })
    }

    fn document(&self, query: &str, claimed: Option<Hash>) -> Result<Arc<Document>, GuardError> {
        if query.len() > self.limits.query_bytes {
            return Err(GuardError::new(
                Code::QueryTooComplex,
                format!("The document is longer than {} bytes.", self.limits.query_bytes),
            ));
        }
        let hash = Hash::from(Sha256::digest(query));
        if claimed.is_some_and(|claimed| claimed != hash) {
            return Err(GuardError::new(
                Code::BadUserInput,
                "The persisted query's hash is not the document's.",
            ));
        }
        if let Some(known) = self.documents.get(&hash) {
            return Ok(known);
        }
        let Some(tokens) = scan(query, self.limits.nesting) else {
            return Err(GuardError::new(
                Code::QueryTooComplex,
                format!("The document is nested deeper than {} levels.", self.limits.nesting),
            ));
        };
        let parsed = parse_query(query)?;
        if parsed.fragments.len() > self.limits.fragments {
            return Err(GuardError::new(
                Code::QueryTooComplex,
                format!("The document has more than {} fragments.", self.limits.fragments),
            ));
        }
        let Expanded { introspects, sizes } = expand(&parsed, &self.limits)?;
        let document = Arc::new(Document { parsed, introspects, sizes });
        let bytes = query.len() + tokens.saturating_mul(Documents::BYTES_PER_TOKEN);
        self.documents.put(hash, &document, bytes);
        Ok(document)
    }
}

/// SHA-256 of a document's text.
type Hash = [u8; 32];

/// The hash that stands for a document, by the protocol of automatic persisted queries.
fn persisted(extensions: &BTreeMap<String, Value>) -> Result<Option<Hash>, GuardError> {
    let Some(Value::Object(persisted)) = extensions.get("persistedQuery") else { return Ok(None) };
    let mut hash = Hash::default();
    match persisted.get("sha256Hash") {
        Some(Value::String(text)) if hex::decode_to_slice(text, &mut hash).is_ok() => Ok(Some(hash)),
        _ => Err(GuardError::new(Code::BadUserInput, "`persistedQuery.sha256Hash` is not a SHA-256 in hex.")),
    }
}

/// A document that has passed the checks which need no variables.
#[derive(Debug)]
struct Document {
    parsed: ExecutableDocument,
    introspects: bool,
    /// Variables that say how long lists shall be.
    sizes: BTreeSet<Name>,
}

/// What the walk over a document finds.
struct Expanded {
    introspects: bool,
    sizes: BTreeSet<Name>,
}

/// Counts the tokens of a document without parsing it; `None` when more than `max` brackets are open at once.
/// A string ends at the end of its line here, as in the grammar, so that no quote can hide brackets from the count.
fn scan(query: &str, max: usize) -> Option<usize> {
    let bytes = query.as_bytes();
    let (mut at, mut depth, mut tokens, mut in_word) = (0, 0_usize, 0, false);
    while let Some(&byte) = bytes.get(at) {
        let word = byte.is_ascii_alphanumeric() || byte == b'_';
        if word != in_word || !(word || byte.is_ascii_whitespace() || byte == b',') {
            tokens += 1;
        }
        in_word = word;
        match byte {
            b'[' | b'{' | b'(' => {
                depth += 1;
                if depth > max {
                    return None;
                }
            }
            b']' | b'}' | b')' => depth = depth.saturating_sub(1),
            b'#' => {
                while bytes.get(at + 1).is_some_and(|next| !matches!(next, b'\n' | b'\r')) {
                    at += 1;
                }
            }
            b'"' if bytes[at..].starts_with(b"\"\"\"") => {
                at += 3;
                while at < bytes.len() && !bytes[at..].starts_with(b"\"\"\"") {
                    at += if bytes[at..].starts_with(b"\\\"\"\"") { 4 } else { 1 };
                }
                at += 2;
            }
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|next| !matches!(next, b'"' | b'\n' | b'\r')) {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            _ => {}
        }
        at += 1;
    }
    Some(tokens)
}

/// What a selection comes to.
#[derive(Clone, Copy, Default)]
struct Amount {
    /// Selections, with every fragment spread replaced by what it stands for.
    selections: usize,
    /// What there is to write should it be a selection of the schema itself: see [`introspected`].
    introspection: usize,
    /// What there is to write of the schema.
    of_schema: usize,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            selections: self.selections.saturating_add(other.selections),
            introspection: self.introspection.saturating_add(other.introspection),
            of_schema: self.of_schema.saturating_add(other.of_schema),
        }
    }
}

/// How long a list of the schema's own types is, roughly. The engine counts each of them as one, so that a query of 200
/// bytes which goes back and forth between types and their interfaces made it write until memory ended.
fn introspected(field: &str) -> usize {
    match field {
        "types" => 250,
        "possibleTypes" => 25,
        "fields" | "inputFields" | "enumValues" | "directives" => 10,
        "args" | "interfaces" => 3,
        _ => 1,
    }
}

/// Measures the selections of all operations after expanding fragments, walking each fragment once, and says whether any of
/// them introspects, and which variables are sizes of lists. Recurses along chains of fragments, whose number must be bounded
/// before.
fn expand(document: &ExecutableDocument, limits: &Limits) -> Result<Expanded, GuardError> {
    struct Walk<'a> {
        document: &'a ExecutableDocument,
        /// `None` while its fragment is being walked: to meet it again is a cycle.
        seen: HashMap<&'a str, Option<Amount>>,
        found: Expanded,
    }

    impl<'a> Walk<'a> {
        fn set(&mut self, set: &'a SelectionSet) -> Result<Amount, GuardError> {
            set.items.iter().try_fold(Amount::default(), |total, item| {
                let inner = match &item.node {
                    Selection::Field(field) => self.field(&field.node)?,
                    Selection::InlineFragment(inline) => self.set(&inline.node.selection_set.node)?,
                    Selection::FragmentSpread(spread) => {
                        self.fragment(spread.node.fragment_name.node.as_str(), item.pos)?
                    }
                };
                // Spreads count themselves too: an unknown fragment must not expand to nothing.
                Ok(total.plus(inner).plus(Amount { selections: 1, introspection: 1, of_schema: 0 }))
            })
        }

        fn field(&mut self, field: &'a Field) -> Result<Amount, GuardError> {
            for (name, value) in &field.arguments {
                let is_size = matches!(name.node.as_str(), "first" | "last");
                // What is no variable stands there as it is; variables are looked at with their values.
                let written = value.node.clone().into_const_with(|variable| {
                    if is_size {
                        self.found.sizes.insert(variable);
                    }
                    Ok::<_, Infallible>(Value::Null)
                });
                if written.is_ok_and(|value| holds_nul(&value)) {
                    return Err(nul(&format!("The argument \"{}\"", name.node)).at(name.pos));
                }
            }
            let name = field.name.node.as_str();
            let inner = self.set(&field.selection_set.node)?;
            let of_schema = if matches!(name, "__schema" | "__type") {
                self.found.introspects = true;
                inner.introspection
            } else {
                inner.of_schema
            };
            let introspection = inner.introspection.saturating_mul(introspected(name));
            Ok(Amount { selections: inner.selections, introspection, of_schema })
        }

        fn fragment(&mut self, name: &'a str, pos: Pos) -> Result<Amount, GuardError> {
            match self.seen.get(name) {
                Some(Some(amount)) => Ok(*amount),
                Some(None) => Err(GuardError::new(
                    Code::ValidationFailed,
                    format!("The fragment \"{name}\" contains itself."),
                )
                .at(pos)),
                None => {
                    self.seen.insert(name, None);
                    let amount = match self.document.fragments.get(name) {
                        Some(fragment) => self.set(&fragment.node.selection_set.node)?,
                        None => Amount::default(),
                    };
                    self.seen.insert(name, Some(amount));
                    Ok(amount)
                }
            }
        }
    }

    let found = Expanded { introspects: false, sizes: BTreeSet::new() };
    let mut walk = Walk { document, seen: HashMap::new(), found };
    let mut total = Amount::default();
    for (_, operation) in document.operations.iter() {
        for definition in &operation.node.variable_definitions {
            if definition.node.default_value.as_ref().is_some_and(|value| holds_nul(&value.node)) {
                let name = &definition.node.name.node;
                return Err(nul(&format!("The variable \"${name}\"")).at(definition.pos));
            }
        }
        total = total.plus(walk.set(&operation.node.selection_set.node)?);
    }
    for (name, fragment) in &document.fragments {
        // Those that no operation reaches count as well, once: nobody walks them more often before they are refused.
        if !walk.seen.contains_key(name.as_str()) {
            total = total.plus(walk.fragment(name.as_str(), fragment.pos)?);
        }
    }
    if total.of_schema > MOST_INTROSPECTION {
        let why = "The document asks for too much of the schema at once.";
        return Err(GuardError::new(Code::QueryTooComplex, why));
    }
    if total.selections > limits.expanded_fields {
        let max = limits.expanded_fields;
        return Err(GuardError::new(
            Code::QueryTooComplex,
            format!("The document selects more than {max} fields once its fragments are expanded."),
        ));
    }
    Ok(walk.found)
}

fn operation<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, GuardError> {
    let found = match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(operation),
        (DocumentOperations::Single(_), Some(_)) => None,
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name),
        (DocumentOperations::Multiple(operations), None) => {
            let mut all = operations.values();
            match (all.next(), all.next()) {
                (only, None) => only,
                _ => {
                    return Err(GuardError::new(
                        Code::BadUserInput,
                        "The document has several operations: `operationName` must say which.",
                    ));
                }
            }
        }
    };
    found.map(|operation| &operation.node).ok_or_else(|| {
        let name = name.unwrap_or_default();
        GuardError::new(Code::BadUserInput, format!("The document has no operation named \"{name}\"."))
    })
}

/// The engine lets a missing variable of a non-null type pass where its position is nullable.
fn required_variables(operation: &OperationDefinition, variables: &Variables) -> Result<(), GuardError> {
    for definition in &operation.variable_definitions {
        if definition.node.var_type.node.nullable {
            continue;
        }
        let name = &definition.node.name.node;
        let what = match variables.get(name) {
            None if definition.node.default_value.is_none() => "is missing",
            Some(Value::Null) => "must not be null",
            _ => continue,
        };
        let message =
            format!("The variable \"${name}\" of type \"{}\" {what}.", definition.node.var_type.node);
        return Err(GuardError::new(Code::BadUserInput, message).at(definition.pos));
    }
    Ok(())
}

/// The engine counts how much a list may cost before anything is resolved, and there takes a variable that was left out
/// for one that nobody declared. To a list's size it is all one whether it is left out or null.
fn sizes_left_out(operation: &OperationDefinition, sizes: &BTreeSet<Name>, variables: &mut Variables) {
    for definition in &operation.variable_definitions {
        let name = &definition.node.name.node;
        if definition.node.default_value.is_none() && sizes.contains(name) && !variables.contains_key(name) {
            variables.insert(name.clone(), Value::Null);
        }
    }
}

/// A subscription selects one field of its root, whatever way it goes about it.
fn single_root(document: &ExecutableDocument, operation: &OperationDefinition) -> Result<(), GuardError> {
    fn keys<'a>(
        document: &'a ExecutableDocument,
        set: &'a SelectionSet,
        found: &mut BTreeSet<&'a str>,
        fragments: &mut BTreeSet<&'a str>,
    ) -> bool {
        set.items.iter().all(|item| match &item.node {
            Selection::Field(field) => {
                found.insert(field.node.response_key().node.as_str());
                !field.node.name.node.starts_with("__")
            }
            Selection::InlineFragment(inline) => {
                keys(document, &inline.node.selection_set.node, found, fragments)
            }
            Selection::FragmentSpread(spread) => {
                let name = spread.node.fragment_name.node.as_str();
                match document.fragments.get(name).filter(|_| fragments.insert(name)) {
                    Some(fragment) => keys(document, &fragment.node.selection_set.node, found, fragments),
                    None => true,
                }
            }
        })
    }

    let set = &operation.selection_set;
    let mut found = BTreeSet::new();
    let real = keys(document, &set.node, &mut found, &mut BTreeSet::new());
    if real && found.len() <= 1 {
        return Ok(());
    }
    Err(GuardError::new(Code::ValidationFailed, "A subscription selects exactly one field of its root.")
        .at(set.pos))
}

/// Parsed documents by the hash of their text, bounded in number and in memory. Two generations: what was not asked for
/// while the younger one filled up is forgotten.
#[derive(Debug)]
struct Documents {
    entries: usize,
    bytes: usize,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Hash, Kept>,
    old: HashMap<Hash, Kept>,
    young_bytes: usize,
}

#[derive(Clone, Debug)]
struct Kept {
    document: Arc<Document>,
    bytes: usize,
}

impl Documents {
    /// What a token of text becomes in memory, roughly: a positioned node and its share of a list.
    const BYTES_PER_TOKEN: usize = 160;

    fn new(entries: usize, bytes: usize) -> Self {
        Self { entries: entries / 2, bytes: bytes / 2, generations: Mutex::default() }
    }

    fn get(&self, hash: &Hash) -> Option<Arc<Document>> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = generations.young.get(hash) {
            return Some(kept.document.clone());
        }
        let kept = generations.old.remove(hash)?;
        let document = kept.document.clone();
        self.insert(&mut generations, *hash, kept);
        Some(document)
    }

    fn put(&self, hash: Hash, document: &Arc<Document>, bytes: usize) {
        // One document never pushes out many others.
        if self.entries == 0 || bytes > self.bytes / 8 {
            return;
        }
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        self.insert(&mut generations, hash, Kept { document: document.clone(), bytes });
    }

    fn insert(&self, generations: &mut Generations, hash: Hash, kept: Kept) {
        if generations.young.len() >= self.entries || generations.young_bytes + kept.bytes > self.bytes {
            generations.old = std::mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        generations.young_bytes += kept.bytes;
        if let Some(replaced) = generations.young.insert(hash, kept) {
            generations.young_bytes -= replaced.bytes;
        }
    }
}

#[cfg(test)]
impl Documents {
    fn len(&self) -> usize {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.len() + generations.old.len()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn check(query: &str) -> Result<Checked, GuardError> {
        Guard::new(&Limits::default()).check(Params { query: Some(query.to_owned()), ..Params::default() })
    }

    fn code(query: &str) -> Code {
        check(query).unwrap_err().code
    }

    /// The engine counts a list of types as one field: six levels of these made it write until memory ended.
    #[test]
    fn introspection_is_bounded_whichever_way_it_multiplies() {
        let nested = |levels| {
            let open = "possibleTypes{interfaces{".repeat(levels);
            format!("{{__type(name:\"Node\"){{{open}name{}}}}}", "}".repeat(2 * levels))
        };
        // What tools ask for, nine wrappers of a type deep.
        let of_type = format!("kind name {}{}", "ofType{kind name ".repeat(9), "}".repeat(9));
        let input = format!("name description type{{{of_type}}} defaultValue isDeprecated deprecationReason");
        let whole = format!(
            "{{__schema{{description queryType{{name kind}} mutationType{{name kind}} subscriptionType{{name kind}} \
             types{{kind name description specifiedByURL isOneOf fields(includeDeprecated:true){{name description \
             args(includeDeprecated:true){{{input}}} type{{{of_type}}} isDeprecated deprecationReason}} \
             inputFields(includeDeprecated:true){{{input}}} interfaces{{{of_type}}} \
             enumValues(includeDeprecated:true){{name description isDeprecated deprecationReason}} \
             possibleTypes{{{of_type}}}}} directives{{name description isRepeatable locations \
             args(includeDeprecated:true){{{input}}}}}}}}}"
        );
        check(&whole).unwrap();
        assert!(check(&nested(2)).is_ok());
        for levels in [4, 5, 6, 12] {
            assert_eq!(code(&nested(levels)), Code::QueryTooComplex, "{levels}");
        }
        let aliases: String =
            (0..200).map(|n| format!("a{n}:__schema{{types{{fields{{args{{type{{name}}}}}}}}}}")).collect();
        assert_eq!(code(&format!("{{{aliases}}}")), Code::QueryTooComplex);
        let aliases: String =
            (0..200).map(|n| format!("a{n}:types{{fields{{args{{type{{name}}}}}}}}")).collect();
        assert_eq!(code(&format!("{{__schema{{{aliases}}}}}")), Code::QueryTooComplex);
        let spread = "{__schema{...a}} fragment a on __Schema{types{...b ...b}} fragment b on __Type{possibleTypes{...c} fields{type{...c}}} \
                      fragment c on __Type{interfaces{...d} possibleTypes{...d}} fragment d on __Type{possibleTypes{fields{name args{name}}}}";
        assert_eq!(code(spread), Code::QueryTooComplex);
        // A fragment is walked once, and written as often as it is spread.
        let spreads = "...f ".repeat(1000);
        let whole = format!(
            "{{{spreads}}} fragment f on Query{{__schema{{types{{fields{{args{{type{{name}}}}}}}}}}}}"
        );
        assert_eq!(code(&whole), Code::QueryTooComplex);
    }

    #[test]
    fn no_text_holds_nul() {
        for query in [
            r#"{ a(x: "\u0000") }"#,
            r#"{ a(x: {b: [{c: "x\u0000y"}]}) }"#,
            r#"{ a { ...f } } fragment f on B { b(c: "\u0000") }"#,
            r#"query($x: String = "\u0000") { a(x: $x) }"#,
        ] {
            assert_eq!(code(query), Code::BadUserInput, "{query}");
        }
        let variables = Variables::from_json(serde_json::json!({ "x": { "y": ["a\u{0}"] } }));
        let query = Some("query($x: In) { a(x: $x) }".to_owned());
        let params = Params { query, variables: Some(variables), ..Params::default() };
        let error = Guard::new(&Limits::default()).check(params).unwrap_err();
        assert_eq!(error.code, Code::BadUserInput);
        assert!(error.message.contains("$x"), "{error}");
    }

    /// 2000 levels overflow a worker's stack in the parser, which ends the process.
    #[test]
    fn a_bomb_of_brackets_never_reaches_the_parser() {
        for bracket in ["[", "{", "("] {
            assert_eq!(
                code(&format!("{{ a(x: {}", bracket.repeat(30_000))),
                Code::QueryTooComplex,
                "{bracket}"
            );
        }
        let lists = |depth| format!("{{ a(x: {}1{}) }}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(&lists(62)).is_ok());
        assert_eq!(code(&lists(63)), Code::QueryTooComplex);
    }

    #[test]
    fn brackets_in_strings_and_comments_are_not_counted() {
        let many = "[".repeat(100);
        for query in [
            format!("{{ a(x: \"{many}\") }}"),
            format!("{{ a(x: \"\\\"{many}\") }}"),
            format!("{{ a(x: \"\"\"{many}\n\\\"\"\"{many}\"\"\") }}"),
            format!("{{ a }} #{many}"),
            format!("{{ a #{many}\r}}"),
            format!("{{ a(x: \"\", y: \"\"\"\"\"\", z: \"{many}\") }}"),
        ] {
            assert!(check(&query).is_ok(), "{query}");
        }
    }

    #[test]
    fn no_quote_hides_brackets() {
        let many = "[".repeat(100);
        for query in [
            format!("{{ a(x: \"\n{many}\") }}"),
            format!("{{ a(x: \"\" {many} \"\") }}"),
            format!("{{ a(x: \"\"\" \"\"\" {many}) }}"),
            format!("{{ a(x: \"\\\\\" {many}) }}"),
        ] {
            assert_eq!(code(&query), Code::QueryTooComplex, "{query}");
        }
    }

    fn bomb(levels: usize, end: &str) -> String {
        let mut query = "{ ...f0 }".to_owned();
        for level in 0..levels {
            let next = level + 1;
            write!(query, " fragment f{level} on Query {{ ...f{next} ...f{next} }}").unwrap();
        }
        if !end.is_empty() {
            write!(query, " fragment f{levels} on Query {{ {end} }}").unwrap();
        }
        query
    }

    /// The engine walks 2^24 spreads for seconds before it looks at any limit.
    #[test]
    fn a_bomb_of_fragments_is_refused_at_once() {
        assert_eq!(code(&bomb(24, "a")), Code::QueryTooComplex);
        assert_eq!(code(&bomb(90, "a")), Code::QueryTooComplex);
        // One that spreads an unknown fragment selects no field at all, and is walked all the same.
        assert_eq!(code(&bomb(24, "")), Code::QueryTooComplex);
        assert!(check(&bomb(8, "a")).is_ok());
    }

    #[test]
    fn a_bomb_that_no_operation_reaches_is_refused_too() {
        assert_eq!(code(&format!("query {{ a }} query B {}", bomb(24, "a"))), Code::ValidationFailed);
        assert_eq!(code(&bomb(24, "a").replace("{ ...f0 } ", "{ a } ")), Code::QueryTooComplex);
    }

    #[test]
    fn fragments_are_bounded_in_number_and_never_circular() {
        let many: String = (0..101).map(|n| format!("fragment f{n} on Query {{ a }} ")).collect();
        assert_eq!(code(&format!("{{ a }} {many}")), Code::QueryTooComplex);
        let error =
            check("{ ...f } fragment f on Query { b { ...g } } fragment g on B { ...f }").unwrap_err();
        assert_eq!((error.code, error.locations.len()), (Code::ValidationFailed, 1));
    }

    #[test]
    fn a_required_variable_is_there() {
        let check = |query: &str, variables: serde_json::Value| {
            let variables = Some(Variables::from_json(variables));
            Guard::new(&Limits::default())
                .check(Params { query: Some(query.to_owned()), variables, ..Params::default() })
                .map_err(|error| error.message)
        };
        let query = "query($x: Int!) { a(x: $x) }";
        assert!(check(query, serde_json::json!({ "x": 1 })).is_ok());
        assert_eq!(
            check(query, serde_json::json!({})).unwrap_err(),
            "The variable \"$x\" of type \"Int!\" is missing."
        );
        assert!(check(query, serde_json::json!({ "x": null })).unwrap_err().ends_with("must not be null."));
        let with_default = "query($x: Int! = 1) { a(x: $x) }";
        assert!(check(with_default, serde_json::json!({})).is_ok());
        assert!(check(with_default, serde_json::json!({ "x": null })).is_err());
        assert!(check("query($x: Int) { a(x: $x) }", serde_json::json!({})).is_ok());
    }

    #[test]
    fn a_size_that_is_left_out_is_null() {
        let variables = |query: &str, variables: serde_json::Value| {
            let variables = Some(Variables::from_json(variables));
            let params = Params { query: Some(query.to_owned()), variables, ..Params::default() };
            let checked = Guard::new(&Limits::default()).check(params).unwrap();
            serde_json::to_value(&checked.request.variables).unwrap()
        };
        let query =
            "query($n: Int, $m: Int, $k: Int = 5, $x: Int) { a(first: $n) { ...f } b(x: $x, first: $k) }
            fragment f on A { c(last: $m) }";
        assert_eq!(variables(query, serde_json::json!({})), serde_json::json!({ "n": null, "m": null }));
        let given = serde_json::json!({ "n": 1, "m": 2, "k": 3, "x": 4 });
        assert_eq!(variables(query, given.clone()), given);
    }

    #[test]
    fn an_operation_is_found_by_its_name() {
        let check = |query: &str, name: &str| {
            let operation_name = Some(name.to_owned());
            Guard::new(&Limits::default()).check(Params {
                query: Some(query.to_owned()),
                operation_name,
                ..Params::default()
            })
        };
        assert_eq!(check("query A { a } mutation B { b }", "B").unwrap().kind, OperationType::Mutation);
        assert!(check("query A { a } mutation B { b }", "").is_err());
        assert!(check("query A { a }", "").is_ok());
        assert!(check("{ a }", "").is_ok());
        assert!(check("{ a }", "A").is_err());
        assert!(check("query A { a }", "B").is_err());
    }

    #[test]
    fn a_subscription_has_one_root_field() {
        for query in [
            "subscription { a b }",
            "subscription { x: a y: a }",
            "subscription { ...f b } fragment f on S { a }",
            "subscription { ... on S { a } b }",
            "subscription { __typename }",
            "subscription { a __typename }",
        ] {
            assert_eq!(code(query), Code::ValidationFailed, "{query}");
        }
        for query in [
            "subscription { a { b c } }",
            "subscription { a { b } a { c } }",
            "subscription { ...f } fragment f on S { a { b c } }",
            "query { a b }",
        ] {
            assert!(check(query).is_ok(), "{query}");
        }
    }

    #[test]
    fn errors_are_one_line() {
        for query in [
            "",
            " ",
            "{",
            "{ a",
            "query A { a } query A { b }",
            "fragment f on Q { a }",
            "\u{feff}\u{0}",
            "}",
        ] {
            let error = check(query).unwrap_err();
            assert!(!error.message.contains('\n'), "{query}: {}", error.message);
        }
    }

    #[test]
    fn known_documents_are_parsed_once_and_forgotten_in_time() {
        let limits = Limits { cached_documents: 10, ..Limits::default() };
        let guard = Guard::new(&limits);
        let first = guard.document("{ a }", None).unwrap();
        for number in 0..1000 {
            guard.document(&format!("{{ a{number} }}"), None).unwrap();
            // What is asked for again and again is never parsed again.
            assert!(Arc::ptr_eq(&first, &guard.document("{ a }", None).unwrap()));
            assert!(guard.documents.len() <= 10);
        }
        assert!(!Arc::ptr_eq(
            &guard.document("{ a1 }", None).unwrap(),
            &guard.document("{ b }", None).unwrap()
        ));
    }

    #[test]
    fn a_persisted_query_is_known_by_its_hash_once_it_was_sent() {
        let guard = Guard::new(&Limits::default());
        let ask = |query: Option<&str>, hash: &str| {
            let extensions = serde_json::json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } });
            let extensions = serde_json::from_value(extensions).unwrap();
            let query = query.map(str::to_owned);
            guard.check(Params { query, extensions: Some(extensions), ..Params::default() })
        };
        let hash = hex::encode(Sha256::digest("mutation { a }"));
        assert_eq!(ask(None, &hash).unwrap_err().code, Code::PersistedQueryNotFound);
        assert_eq!(ask(Some("{ b }"), &hash).unwrap_err().code, Code::BadUserInput);
        assert_eq!(ask(None, &hash).unwrap_err().code, Code::PersistedQueryNotFound);
        assert!(ask(Some("mutation { a }"), &hash).is_ok());
        assert_eq!(ask(None, &hash).unwrap().kind, OperationType::Mutation);
        assert_eq!(ask(None, "00").unwrap_err().code, Code::BadUserInput);
    }

    #[test]
    fn the_cache_is_bounded_in_bytes() {
        let limits = Limits { cached_bytes: 1_000_000, ..Limits::default() };
        let guard = Guard::new(&limits);
        let wide = format!("{{ {} }}", "a ".repeat(9_000));
        guard.document(&wide, None).unwrap();
        assert_eq!(guard.documents.len(), 0);
        for number in 0..500 {
            guard.document(&format!("{{ a{number} {} }}", "b ".repeat(50)), None).unwrap();
        }
        assert!(guard.documents.len() < 100, "{}", guard.documents.len());
    }
}
