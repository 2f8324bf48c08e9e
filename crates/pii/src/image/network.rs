//! Runs a neural network on one thread.

use std::sync::{Arc, atomic::AtomicBool};

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::{AsView, Layout, NdTensor};

use super::{ModelError, NetworkError, Stopped};

/// A loaded model with one image as its input: planes of colour, numbered batch, channel, row, column.
pub(crate) struct Network {
    name: &'static str,
    model: Model,
    input: NodeId,
}

/// The thread that networks run on, for the length of one call.
///
/// The runtime's own pool would be shared by all calls of a process and outlive them.
pub(crate) struct Worker<'s> {
    pool: Arc<ThreadPool>,
    stop: &'s AtomicBool,
}

impl<'s> Worker<'s> {
    pub(crate) fn new(stop: &'s AtomicBool) -> Self {
        Worker { pool: Arc::new(ThreadPool::with_num_threads(1)), stop }
    }

    /// To be asked between pieces of work.
    pub(crate) fn go_on(&self) -> Result<(), Stopped> {
        Stopped::check(self.stop)
    }
}

impl Network {
    /// Loads a model and tries it on a grey image of the given width and height.
    ///
    /// `name` is for messages.
    pub(crate) fn load(
        name: &'static str,
        bytes: Vec<u8>,
        (width, height): (usize, usize),
    ) -> Result<(Network, Vec<Value>), ModelError> {
        let unsuitable = |cause: String| ModelError::Unsuitable { model: name, cause };
        let model = ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load(bytes)
            .map_err(|error| ModelError::Unreadable { model: name, cause: error.to_string() })?;
        let input = *model.input_ids().first().ok_or_else(|| unsuitable("it has no input".into()))?;
        let network = Network { name, model, input };
        let grey = NdTensor::full([1, 3, height, width], 0.0);
        let outputs = network.try_run(&grey, &Worker::new(&AtomicBool::new(false))).map_err(unsuitable)?;
        Ok((network, outputs))
    }

    /// What `understand` makes of all outputs for an image. An answer that it makes nothing of is a failure: nobody may
    /// take it for an image without anything in it.
    pub(crate) fn run<T>(
        &self,
        image: &NdTensor<f32, 4>,
        worker: &Worker<'_>,
        understand: impl FnOnce(Vec<Value>) -> Option<T>,
    ) -> Result<T, NetworkError> {
        worker.go_on()?;
        let outputs = self.try_run(image, worker);
        worker.go_on()?;
        outputs.ok().and_then(understand).ok_or(NetworkError::Failed { model: self.name })
    }

    fn try_run(&self, image: &NdTensor<f32, 4>, worker: &Worker<'_>) -> Result<Vec<Value>, String> {
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&worker.pool)));
        self.model
            .run(vec![(self.input, image.view().into())], self.model.output_ids(), Some(options))
            .map_err(|error| error.to_string())
    }
}

/// An output as numbers in memory order, with its shape. None when one of them is no number.
pub(crate) fn numbers<const N: usize>(value: Value) -> Option<([usize; N], Vec<f32>)> {
    let tensor: NdTensor<f32, N> = value.try_into().ok()?;
    let numbers = tensor.to_vec();
    numbers.iter().all(|number| number.is_finite()).then(|| (tensor.shape(), numbers))
}
