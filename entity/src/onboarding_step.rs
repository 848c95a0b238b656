//! A step that was taken, with the instant of its evidence.

use sea_orm::entity::prelude::*;
use serde::Deserialize;

use crate::{OnboardingId, OnboardingStatus, Timestamp};

/// A step that was taken, with the instant of its evidence.
#[derive(Clone, Debug, PartialEq, Deserialize, DeriveEntityModel)]
#[sea_orm(table_name = "onboarding_step")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub onboarding_id: OnboardingId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub status: OnboardingStatus,
    pub at: Timestamp,
}

/// Joins are written where they are needed; none is declared.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
