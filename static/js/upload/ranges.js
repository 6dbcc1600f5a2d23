// Part numbers as the API writes them: "1-50,52".

export function parseRanges(text) {
  const numbers = new Set();
  for (const range of text.split(",").filter(Boolean)) {
    const [first, last = first] = range.split("-").map(Number);
    for (let number = first; number <= last; number += 1) numbers.add(number);
  }
  return numbers;
}

export function missingParts(total, received) {
  const missing = [];
  for (let number = 1; number <= total; number += 1) {
    if (!received.has(number)) missing.push(number);
  }
  return missing;
}
