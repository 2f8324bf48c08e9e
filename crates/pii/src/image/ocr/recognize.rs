//! Recognition of the text of a line.

use image::RgbImage;
use rten_tensor::NdTensor;

use super::{
    TextLine,
    rotated_rect::{RotatedRect, float},
};
use crate::image::{
    ModelError, NetworkError, Rect,
    network::{InferenceContext, OnnxNetwork, numbers},
};

/// Pixels of the height of the input.
const HEIGHT: usize = 48;
/// Least pixels of the width of the input; narrower lines are padded with grey, as in training.
const MIN_WIDTH: usize = 320;
/// Most pixels of the width of the input; wider lines are squeezed.
const MAX_WIDTH: usize = 3200;
/// Columns of the input for each step of the output.
const STEP: usize = 8;
/// Confidence from which on no other direction is tried.
const CONFIDENT: f32 = 0.9;
/// Ratio of height to width from which on text is read as turned by a quarter.
const VERTICAL_RATIO: f32 = 1.5;

pub(crate) struct LineRecognizer {
    network: OnnxNetwork,
    /// Characters by class, from class 1 on. Class 0 is the blank between characters.
    characters: Vec<char>,
}

/// Character, and the step of the output at which it was read.
struct RecognizedChar {
    character: char,
    step: f32,
    probability: f32,
}

impl LineRecognizer {
    /// Loads the model. `keys` has one character a line.
    pub(crate) fn new(model: Vec<u8>, keys: &str) -> Result<Self, ModelError> {
        const MODEL: &str = "text recognition";
        let (network, outputs) = OnnxNetwork::load(MODEL, model, (MIN_WIDTH, HEIGHT))?;
        let unsuitable = |cause: String| ModelError::Unsuitable { model: MODEL, cause };
        let answer = outputs.into_iter().next().and_then(numbers::<3>);
        let Some(([1, steps, classes], _)) = answer else {
            return Err(unsuitable("it does not return probabilities of characters".into()));
        };
        if steps != MIN_WIDTH / STEP {
            return Err(unsuitable(format!("it reads {MIN_WIDTH} pixels in {steps} steps")));
        }
        let mut characters =
            keys.lines().map(|line| line.chars().next().unwrap_or(' ')).collect::<Vec<char>>();
        characters.push(' ');
        if characters.len() + 1 != classes {
            let keys = characters.len() - 1;
            return Err(unsuitable(format!(
                "it knows {classes} classes, which do not fit {keys} characters"
            )));
        }
        Ok(LineRecognizer { network, characters })
    }

    /// Reads the line in a frame, in the direction with the highest confidence.
    pub(crate) fn read(
        &self,
        image: &RgbImage,
        frame: RotatedRect,
        context: &InferenceContext<'_>,
    ) -> Result<Option<TextLine>, NetworkError> {
        let quarter = frame.rotated_quarter();
        let directions = if frame.height >= VERTICAL_RATIO * frame.width {
            vec![quarter, quarter.rotated_quarter().rotated_quarter(), frame]
        } else {
            vec![frame, frame.rotated_quarter().rotated_quarter()]
        };
        let mut best: Option<TextLine> = None;
        for direction in directions {
            let Some(line) = self.read_direction(image, &direction, context)? else { continue };
            let sure = line.confidence >= CONFIDENT;
            if best.as_ref().is_none_or(|best| line.confidence > best.confidence) {
                best = Some(line);
            }
            if sure {
                break;
            }
        }
        Ok(best)
    }

    fn read_direction(
        &self,
        image: &RgbImage,
        frame: &RotatedRect,
        context: &InferenceContext<'_>,
    ) -> Result<Option<TextLine>, NetworkError> {
        let width = columns(frame).clamp(STEP, MAX_WIDTH);
        let padded = width.next_multiple_of(STEP).max(MIN_WIDTH);
        let crop = frame.crop(image, width, HEIGHT);
        let mut pixels = vec![0.0; 3 * HEIGHT * padded];
        for (to, from) in pixels.chunks_mut(padded).zip(crop.chunks(width)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = from / 127.5 - 1.0);
        }
        let known = self.characters.len() + 1;
        let probabilities =
            self.network.run(&NdTensor::from_data([1, 3, HEIGHT, padded], pixels), context, |outputs| {
                let ([1, steps, classes], probabilities) =
                    outputs.into_iter().next().and_then(numbers::<3>)?
                else {
                    return None;
                };
                ((steps, classes) == (padded / STEP, known)).then_some(probabilities)
            })?;
        let read = self.decode(&probabilities, known);
        Ok(line(&read, frame, float(width) / float(STEP), image.dimensions()))
    }

    /// Decodes connectionist temporal classification (CTC) greedily: the likeliest class of each step, repetitions
    /// joined.
    fn decode(&self, probabilities: &[f32], classes: usize) -> Vec<RecognizedChar> {
        let mut read: Vec<RecognizedChar> = Vec::new();
        let mut previous = 0;
        let mut since = 0;
        for (step, row) in probabilities.chunks_exact(classes).enumerate() {
            let (class, probability) = likeliest(row);
            if class != previous {
                since = step;
            }
            if class != 0 {
                let step = float(since + step) / 2.0 + 0.5;
                match read.last_mut() {
                    Some(last) if class == previous => {
                        last.step = step;
                        last.probability = last.probability.max(probability);
                    }
                    _ => {
                        read.push(RecognizedChar {
                            character: self.characters[class - 1],
                            step,
                            probability,
                        });
                    }
                }
            }
            previous = class;
        }
        read
    }
}

/// Width of a frame, in columns of the input, when its height is scaled to the input's.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn columns(frame: &RotatedRect) -> usize {
    (frame.width / frame.height.max(1.0) * float(HEIGHT)).ceil() as usize
}

fn likeliest(row: &[f32]) -> (usize, f32) {
    row.iter()
        .copied()
        .enumerate()
        .fold((0, f32::MIN), |best, (class, p)| if p > best.1 { (class, p) } else { best })
}

/// Builds the line of the characters read. Each character's area reaches half-way to its neighbours, or to the end of
/// the frame.
fn line(read: &[RecognizedChar], frame: &RotatedRect, steps: f32, size: (u32, u32)) -> Option<TextLine> {
    if read.is_empty() {
        return None;
    }
    let border = |index: usize| match index {
        0 => 0.0,
        _ if index == read.len() => 1.0,
        _ => (f32::midpoint(read[index - 1].step, read[index].step) / steps).min(1.0),
    };
    let chars =
        (0..read.len()).map(|index| Rect::around(&frame.part(border(index), border(index + 1)), size));
    Some(TextLine {
        text: read.iter().map(|read| read.character).collect(),
        confidence: read.iter().map(|read| read.probability).sum::<f32>() / float(read.len()),
        chars: chars.collect(),
    })
}
