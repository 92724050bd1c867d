// The receiver's time, by its last answer: a reader's clock may be wrong, and a simulated one runs ahead.

let ahead = Date.parse(document.body.dataset.asOf) - Date.now();

export function heard(asOf) {
  if (asOf) ahead = Date.parse(asOf) - Date.now();
}

export const now = () => Date.now() + ahead;
