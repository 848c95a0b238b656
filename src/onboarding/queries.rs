//! Reads of onboardings.

use std::collections::HashMap;
use std::sync::Arc;

use entity::{OnboardingId, OnboardingStatus, client, onboarding, onboarding_step};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};

use crate::auth::Scope;
use crate::db::Db;
use crate::db::page::{Ordering, Page, PageArgs, page};
use crate::lookup;

/// Which onboardings.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In one of these states.
    pub status: Option<Vec<OnboardingStatus>>,
    /// Of the client with this key of the partner's.
    pub reference: Option<String>,
}

/// An onboarding that the scope admits.
///
/// # Errors
/// When the database is away.
pub async fn one(db: &Db, scope: &Scope, id: OnboardingId) -> Result<Option<Arc<onboarding::Model>>, DbErr> {
    lookup::by_id::<onboarding::Entity>(db, scope, id).await
}

/// Onboardings, oldest first.
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &Db,
    scope: &Scope,
    filter: &Filter,
    args: PageArgs,
) -> Result<Page<onboarding::Model>, DbErr> {
    use onboarding::Column;
    let mut select = scope.find::<onboarding::Entity>();
    if let Some(statuses) = &filter.status {
        select = select.filter(Column::Status.is_in(statuses.iter().copied()));
    }
    if let Some(reference) = &filter.reference {
        let clients = Query::select()
            .expr(Expr::val(1))
            .from(client::Entity)
            .and_where(
                Expr::col((client::Entity, client::Column::Id))
                    .equals((onboarding::Entity, Column::ClientId)),
            )
            .and_where(Expr::col((client::Entity, client::Column::Reference)).eq(reference.as_str()))
            .to_owned();
        // What a merge made of the client does not hide the link that was made with this key.
        select = select.filter(Column::Reference.eq(reference.as_str()).or(Expr::exists(clients)));
    }
    page(db, select, Ordering { key: None, id: Column::Id, descending: false }, args).await
}

/// The steps that these onboardings took, in the order of their evidence. The onboardings came through the scope.
///
/// # Errors
/// When the database is away.
pub async fn steps(
    db: &Db,
    onboardings: &[OnboardingId],
) -> Result<HashMap<OnboardingId, Vec<onboarding_step::Model>>, DbErr> {
    #[expect(clippy::disallowed_methods, reason = "parts of onboardings that came through the scope")]
    let rows = db
        .rows(
            onboarding_step::Entity::find()
                .filter(onboarding_step::Column::OnboardingId.is_in(onboardings.iter().copied())),
        )
        .await?;
    let mut by_onboarding: HashMap<OnboardingId, Vec<onboarding_step::Model>> = HashMap::new();
    for row in rows {
        by_onboarding.entry(row.onboarding_id).or_default().push(row);
    }
    for rows in by_onboarding.values_mut() {
        rows.sort_by_key(|row| (row.at, row.status));
    }
    Ok(by_onboarding)
}

/// The address that the client opens.
pub fn link(public_url: &str, row: &onboarding::Model) -> String {
    format!("{public_url}/onboarding/{}", row.link_token)
}
