use super::args::SchemaOf;
use crate::config;
use crate::model::RunRecord;

/// `packhold schema`
pub(super) fn schema(of: SchemaOf) {
    let schema = match of {
        SchemaOf::Pipeline => config::pipeline_schema(),
        SchemaOf::Builder => config::builder_schema(),
        SchemaOf::RunRecord => RunRecord::schema(),
    };
    println!("{:#}", schema.to_value());
}
