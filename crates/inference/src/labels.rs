//! The names of a model's classes.

use std::sync::Arc;

/// Names of the classes, by class index. Shared text: a prediction borrows its label without copying it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    names: Vec<Arc<str>>,
}

/// Labels that do not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// A classifier needs at least one class.
    #[error("the list of labels is empty: give one label a line, in the order of the model's classes")]
    Empty,
    /// The model's output has another number of classes.
    #[error(
        "there are {labels} labels for {outputs} outputs of which the first {offset} have no label: \
         supply {} labels, or correct output.index_offset", outputs.saturating_sub(*offset)
    )]
    WrongCount {
        /// Labels supplied.
        labels: usize,
        /// Elements of the model's output.
        outputs: usize,
        /// Leading outputs without a label.
        offset: usize,
    },
}

impl Labels {
    /// Labels in class order.
    ///
    /// # Errors
    /// [`LabelsError::Empty`] when there is none.
    pub fn new<T: Into<Arc<str>>>(names: impl IntoIterator<Item = T>) -> Result<Self, LabelsError> {
        let names: Vec<Arc<str>> = names.into_iter().map(Into::into).collect();
        if names.is_empty() { Err(LabelsError::Empty) } else { Ok(Self { names }) }
    }

    /// How many classes are named.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Name of a class, if there is such a class.
    #[must_use]
    pub fn get(&self, class: u32) -> Option<&Arc<str>> {
        self.names.get(class as usize)
    }

    /// All names, in class order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// Checks the count against a model's output.
    ///
    /// # Errors
    /// [`LabelsError::WrongCount`] unless `outputs = count + offset`.
    pub fn check_count(&self, outputs: usize, offset: usize) -> Result<(), LabelsError> {
        if self.count() + offset == outputs {
            return Ok(());
        }
        Err(LabelsError::WrongCount { labels: self.count(), outputs, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_must_match_the_outputs_less_the_offset() {
        let labels = Labels::new(["cat", "dog"]).unwrap();
        labels.check_count(2, 0).unwrap();
        labels.check_count(3, 1).unwrap();
        let error = labels.check_count(1001, 1).unwrap_err();
        assert!(error.to_string().contains("supply 1000 labels"), "{error}");
        assert_eq!(Labels::new(Vec::<String>::new()), Err(LabelsError::Empty));
    }
}
