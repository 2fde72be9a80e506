// The levels of a prediction, and how many of them are confident.

export const LEVELS = ["constructor", "family", "model"];

/** Set the confidence level of a prediction: the deepest that is at least `minimum` probable, as all above; null leaves
 * it to the model. */
export function decide(prediction, minimum) {
  const { path, choices } = prediction;
  let { depth } = prediction;
  if (minimum !== null) for (depth = 0; depth + 1 < choices.length && path[depth].probability >= minimum; ) depth += 1;
  Object.assign(prediction, choices[depth]);
}

/** Return how many labels of the path are confident, from the constructor on; 0 if the aircraft is unknown. */
export const confidentDepth = ({ level }) => LEVELS.indexOf(level) + 1;
