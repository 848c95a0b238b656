//! Pages of lists: one helper for what callers ask, one for what they get.

use async_graphql::connection::PageInfo;
use async_graphql::{Object, OutputType, SimpleObject};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::error::{ApiError, Result};
use super::types::{
    Client, Contact, Conversation, Message, Onboarding, Template, WebhookDelivery, WebhookEndpoint,
};
use crate::db::page::{self, Page, PageArgs, Place};

/// What the lists of a kind have in common: how their rows are placed.
pub trait Listed: OutputType {
    /// Tells the cursors of one kind of list from those of another.
    const KIND: u8;

    /// Where the row stands.
    fn place(&self) -> Place;
}

/// Which page a caller asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// From the beginning.
    pub first: Option<i32>,
    /// After this cursor.
    pub after: Option<String>,
    /// From the end.
    pub last: Option<i32>,
    /// Before this cursor.
    pub before: Option<String>,
}

impl Asked {
    /// Reads the arguments of a list of this kind.
    ///
    /// # Errors
    /// BAD_USER_INPUT, saying what is needed.
    pub fn page<T: Listed>(&self) -> Result<PageArgs> {
        if self.first.is_some() && self.last.is_some() {
            return Err(ApiError::bad_input(
                "`first` and `last` are both given; it needs one of them, or none.",
            ));
        }
        let (size, backward) = match (self.first, self.last) {
            (Some(first), _) => (size("first", first)?, false),
            (None, Some(last)) => (size("last", last)?, true),
            (None, None) => (page::DEFAULT, self.before.is_some() && self.after.is_none()),
        };
        let after = self.after.as_deref().map(|cursor| decode::<T>("after", cursor)).transpose()?;
        let before = self.before.as_deref().map(|cursor| decode::<T>("before", cursor)).transpose()?;
        Ok(PageArgs { size, backward, after, before })
    }
}

/// A page size that a caller gave.
///
/// # Errors
/// BAD_USER_INPUT, naming the limits.
pub fn size(name: &str, given: i32) -> Result<usize> {
    usize::try_from(given).ok().filter(|size| (1..=page::MOST).contains(size)).ok_or_else(|| {
        ApiError::bad_input(format!("`{name}` is {given}; it needs a number from 1 to {}.", page::MOST))
    })
}

/// What a list costs against the limit of complexity: its size times what is asked of each row.
pub fn cost(first: Option<i32>, last: Option<i32>, each: usize) -> usize {
    let asked = first.or(last).and_then(|size| usize::try_from(size).ok());
    asked.unwrap_or(page::DEFAULT).clamp(1, page::MOST).saturating_mul(each).saturating_add(1)
}

const VERSION: u8 = 1;

fn encode<T: Listed>(place: Place) -> String {
    let mut bytes = Vec::with_capacity(26);
    bytes.extend_from_slice(&[VERSION, T::KIND]);
    bytes.extend_from_slice(&place.key.to_be_bytes());
    bytes.extend_from_slice(place.id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode<T: Listed>(name: &str, cursor: &str) -> Result<Place> {
    let read = || {
        let bytes: [u8; 26] = URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let (key, id) = rest.split_first_chunk::<8>()?;
        let place = Place { key: i64::from_be_bytes(*key), id: Uuid::from_slice(id).ok()? };
        (*head == [VERSION, T::KIND]).then_some(place)
    };
    read().ok_or_else(|| ApiError::bad_input(format!("`{name}` is not a cursor of this list.")))
}

/// A page of a list, with a cursor for each of its items.
pub struct Connection<T: OutputType> {
    edges: Vec<Edge<T>>,
    has_next: bool,
    has_previous: bool,
}

/// An item of a list, with its cursor.
#[derive(SimpleObject)]
#[graphql(
    concrete(name = "ClientEdge", params(Client)),
    concrete(name = "OnboardingEdge", params(Onboarding)),
    concrete(name = "MessageEdge", params(Message)),
    concrete(name = "ContactEdge", params(Contact)),
    concrete(name = "ConversationEdge", params(Conversation)),
    concrete(name = "TemplateEdge", params(Template)),
    concrete(name = "WebhookEndpointEdge", params(WebhookEndpoint)),
    concrete(name = "WebhookDeliveryEdge", params(WebhookDelivery))
)]
pub struct Edge<T: OutputType> {
    /// The item's place in the list, for `after` and `before`.
    cursor: String,
    /// The item.
    node: T,
}

impl<T: Listed> Connection<T> {
    /// Of a page of rows.
    pub fn new<R>(page: Page<R>, wrap: impl Fn(R) -> T) -> Self {
        let edges = page.rows.into_iter().map(|row| {
            let node = wrap(row);
            Edge { cursor: encode::<T>(node.place()), node }
        });
        Self { edges: edges.collect(), has_next: page.has_next, has_previous: page.has_previous }
    }
}

/// A page of a list: at most 100 items.
#[Object(
    concrete(name = "ClientConnection", params(Client)),
    concrete(name = "OnboardingConnection", params(Onboarding)),
    concrete(name = "MessageConnection", params(Message)),
    concrete(name = "ContactConnection", params(Contact)),
    concrete(name = "ConversationConnection", params(Conversation)),
    concrete(name = "TemplateConnection", params(Template)),
    concrete(name = "WebhookEndpointConnection", params(WebhookEndpoint)),
    concrete(name = "WebhookDeliveryConnection", params(WebhookDelivery))
)]
impl<T: OutputType> Connection<T>
where
    Edge<T>: OutputType,
{
    /// The items, each with its cursor.
    async fn edges(&self) -> &Vec<Edge<T>> {
        &self.edges
    }

    /// The items alone.
    async fn nodes(&self) -> Vec<&T> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Whether there is more, and the cursors to go on with.
    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_previous_page: self.has_previous,
            has_next_page: self.has_next,
            start_cursor: self.edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: self.edges.last().map(|edge| edge.cursor.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { key: 1_700_000_000_000_001, id: Uuid::from_u128(5) };

    fn code(error: ApiError) -> (String, String) {
        let error = async_graphql::Error::from(error);
        (error.extensions.unwrap().get("code").unwrap().to_string(), error.message)
    }

    #[test]
    fn a_cursor_comes_back_whole_and_only_in_its_own_list() {
        let cursor = encode::<Message>(PLACE);
        assert_eq!(decode::<Message>("after", &cursor).unwrap(), PLACE);
        for broken in [encode::<Client>(PLACE).as_str(), "", "x", &cursor[1..], &format!("{cursor}AA"), "é"]
        {
            assert!(
                code(decode::<Message>("after", broken).unwrap_err()).0.contains("BAD_USER_INPUT"),
                "{broken}"
            );
        }
    }

    #[test]
    fn sizes_have_limits_that_the_error_names() {
        let page = |first, last| Asked { first, last, ..Asked::default() }.page::<Message>();
        assert_eq!(page(None, None).unwrap().size, 50);
        assert_eq!(page(Some(100), None).unwrap().size, 100);
        assert!(page(None, Some(1)).unwrap().backward);
        for (first, last) in
            [(Some(0), None), (Some(-1), None), (Some(101), None), (None, Some(101)), (Some(1), Some(1))]
        {
            let (code, message) = code(page(first, last).unwrap_err());
            assert!(code.contains("BAD_USER_INPUT"), "{first:?} {last:?}: {message}");
            assert!(message.contains("100") || first == last, "{message}");
        }
    }

    #[test]
    fn what_lies_before_a_cursor_is_read_from_its_end() {
        let asked = Asked { before: Some(encode::<Message>(PLACE)), ..Asked::default() };
        assert!(asked.page::<Message>().unwrap().backward);
    }

    #[test]
    fn lists_in_lists_multiply_and_never_overflow() {
        assert_eq!(cost(Some(10), None, 5), 51);
        assert_eq!(cost(None, None, 1), 51);
        assert_eq!(cost(Some(i32::MAX), None, 1), 101);
        assert_eq!(cost(None, Some(100), usize::MAX), usize::MAX);
    }
}
