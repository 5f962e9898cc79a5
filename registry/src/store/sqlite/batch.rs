//! A batch on SQLite: one transaction of the one writing connection.

use async_trait::async_trait;
use sqlx::{Sqlite, Transaction};

use super::load::load;
use super::{collect, leases, write};
use crate::error::Result;
use crate::log::plan::collect::Asked;
use crate::model::event::Record;
use crate::model::name::ProducerName;
use crate::model::state::{Head, State, Touched};
use crate::model::sweep::Uses;
use crate::store::Batch;
use crate::store::lease::Lease;

pub(super) struct SqliteBatch {
    pub(super) transaction: Transaction<'static, Sqlite>,
    pub(super) head: Head,
}

#[async_trait]
impl Batch for SqliteBatch {
    fn head(&self) -> Head {
        self.head
    }

    async fn lease_runs(&mut self, lease: &Lease) -> Result<bool> {
        leases::runs(&mut self.transaction, lease).await
    }

    async fn load(&mut self, touched: Touched, state: &mut State) -> Result<()> {
        load(&mut self.transaction, touched, state).await
    }

    async fn uses(&mut self, asked: &Asked) -> Result<Uses> {
        collect::uses(&mut self.transaction, asked).await
    }

    async fn sweeping(&mut self) -> Result<bool> {
        collect::sweeping(&mut self.transaction).await
    }

    async fn seal_keeps(&mut self, producer: &ProducerName) -> Result<bool> {
        collect::seal_keeps(&mut self.transaction, producer).await
    }

    async fn write(&mut self, records: &[Record], head: Head, state: &State) -> Result<()> {
        write::batch(&mut self.transaction, records, head, state).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        Ok(self.transaction.commit().await?)
    }
}
