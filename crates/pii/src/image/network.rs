//! Neural networks on images, run on one thread.

use std::sync::{Arc, atomic::AtomicBool};

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::{AsView, Layout, NdTensor};

use super::{ModelError, NetworkError, Stopped};

/// Loaded model with one image as its input: a tensor of batch, channel, row and column.
pub(crate) struct OnnxNetwork {
    name: &'static str,
    model: Model,
    input: NodeId,
}

/// Thread that networks run on for the length of one call, with the flag that ends it.
///
/// The runtime's own pool would be shared by all calls of a process and outlive them.
pub(crate) struct InferenceContext<'s> {
    pool: Arc<ThreadPool>,
    stop: &'s AtomicBool,
}

impl<'s> InferenceContext<'s> {
    pub(crate) fn new(stop: &'s AtomicBool) -> Self {
        InferenceContext { pool: Arc::new(ThreadPool::with_num_threads(1)), stop }
    }

    /// Reads the stop flag; to be called between steps.
    ///
    /// # Errors
    /// [`Stopped`] when it is set.
    pub(crate) fn check_stopped(&self) -> Result<(), Stopped> {
        Stopped::check(self.stop)
    }
}

impl OnnxNetwork {
    /// Loads a model and tries it on a grey image of the given width and height.
    ///
    /// `name` is used in error messages.
    pub(crate) fn load(
        name: &'static str,
        bytes: Vec<u8>,
        (width, height): (usize, usize),
    ) -> Result<(OnnxNetwork, Vec<Value>), ModelError> {
        let unsuitable = |cause: String| ModelError::Unsuitable { model: name, cause };
        let model = ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load(bytes)
            .map_err(|error| ModelError::Unreadable { model: name, cause: error.to_string() })?;
        let input = *model.input_ids().first().ok_or_else(|| unsuitable("it has no input".into()))?;
        let network = OnnxNetwork { name, model, input };
        let grey = NdTensor::full([1, 3, height, width], 0.0);
        let outputs =
            network.run_raw(&grey, &InferenceContext::new(&AtomicBool::new(false))).map_err(unsuitable)?;
        Ok((network, outputs))
    }

    /// Runs the network on an image and parses its outputs. An output that `parse` refuses is an error: it must not
    /// pass for an image without findings.
    pub(crate) fn run<T>(
        &self,
        image: &NdTensor<f32, 4>,
        context: &InferenceContext<'_>,
        parse: impl FnOnce(Vec<Value>) -> Option<T>,
    ) -> Result<T, NetworkError> {
        context.check_stopped()?;
        let outputs = self.run_raw(image, context);
        context.check_stopped()?;
        outputs.ok().and_then(parse).ok_or(NetworkError::Failed { model: self.name })
    }

    fn run_raw(
        &self,
        image: &NdTensor<f32, 4>,
        context: &InferenceContext<'_>,
    ) -> Result<Vec<Value>, String> {
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&context.pool)));
        self.model
            .run(vec![(self.input, image.view().into())], self.model.output_ids(), Some(options))
            .map_err(|error| error.to_string())
    }
}

/// Shape and values of an output, in memory order; none if a value is not finite.
pub(crate) fn numbers<const N: usize>(value: Value) -> Option<([usize; N], Vec<f32>)> {
    let tensor: NdTensor<f32, N> = value.try_into().ok()?;
    let numbers = tensor.to_vec();
    numbers.iter().all(|number| number.is_finite()).then(|| (tensor.shape(), numbers))
}
