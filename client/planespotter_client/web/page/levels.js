// The levels of a prediction, and how many of them are confident.

export const LEVELS = ["constructor", "family", "model"];

/** Return how many labels of the path are confident, from the constructor on; 0 if the aircraft is unknown. */
export const confidentDepth = ({ level }) => LEVELS.indexOf(level) + 1;
