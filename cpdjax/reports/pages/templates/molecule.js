// A molecule as balls and sticks, which can be turned.
const numbers = unpacked(data.molecules.numbers, Uint8Array);
const positions = unpacked(data.molecules.positions, Int16Array);
const STICK = 0.13, BALL = 0.42, FEW = 1.2; // Å, and the share of radii within which atoms are bonded
const MOST_ATOMS = 2000; // whose bonds are found in a moment
let shape = null; // the molecule that is drawn: atoms, bonds, and how it is turned

function shape_of(i) {
  const [first, end] = [data.molecules.offsets[i], data.molecules.offsets[i + 1]];
  const atoms = [];
  for (let a = first; a < end; a++) {
    const at = [0, 1, 2].map((axis) => positions[3 * a + axis] * data.molecules.scale);
    atoms.push({ at, ...data.molecules.elements[numbers[a]] });
  }
  return { atoms, bonds: atoms.length > MOST_ATOMS ? [] : bonds_of(atoms), turn: [[1, 0, 0], [0, 1, 0], [0, 0, 1]] };
}

function bonds_of(atoms) {
  const found = [];
  for (let i = 0; i < atoms.length; i++) {
    for (let j = 0; j < i; j++) {
      const distance = Math.hypot(...atoms[i].at.map((x, axis) => x - atoms[j].at[axis]));
      if (distance < FEW * (atoms[i].radius + atoms[j].radius)) found.push([i, j]);
    }
  }
  return found;
}

const product = (a, b) => a.map((row) => b[0].map((_, k) => row.reduce((sum, x, j) => sum + x * b[j][k], 0)));

function turn(across, up) {
  if (!shape) return;
  const [c, s, d, t] = [Math.cos(across), Math.sin(across), Math.cos(up), Math.sin(up)];
  const step = product([[1, 0, 0], [0, d, -t], [0, t, d]], [[c, 0, s], [0, 1, 0], [-s, 0, c]]);
  shape.turn = product(step, shape.turn);
  draw_molecule();
}

function draw_molecule() {
  const { pen, width, height } = fitted(by_id("molecule"));
  if (!shape || !shape.atoms.length) return draw_note(pen, width, height);
  const seen = shape.atoms.map(({ at, radius, colour, symbol }) => {
    const [x, y, z] = shape.turn.map((row) => row.reduce((sum, r, k) => sum + r * at[k], 0));
    return { x, y, z, radius: BALL * radius + 0.12, colour, symbol };
  });
  // One size for all ways to turn it.
  const extent = shape.atoms.reduce((most, { at }) => Math.max(most, Math.hypot(...at)), 0) + 0.7;
  const scale = Math.min(width, height) / 2 / Math.max(extent, 2);
  const wide = Math.max(1, (width - 24) / 2 / Math.max(...seen.map(({ x }) => Math.abs(x) + 0.7), 2) / scale);
  const tall = (height - 16) / 2 / Math.max(...seen.map(({ y }) => Math.abs(y) + 0.7), 1) / scale;
  const zoom = scale * Math.max(1, Math.min(wide, tall, 1.6));
  for (const atom of seen) {
    atom.u = width / 2 + zoom * atom.x;
    atom.v = height / 2 - zoom * atom.y;
  }
  const parts = seen.map((atom) => ({ z: atom.z, draw: () => draw_ball(pen, atom, zoom) }));
  for (const [i, j] of shape.bonds) {
    const depth = (seen[i].z + seen[j].z) / 2 - 0.05;
    parts.push({ z: depth, draw: () => draw_stick(pen, seen[i], seen[j], zoom) });
  }
  for (const part of parts.sort((a, b) => a.z - b.z)) part.draw();
}

function draw_ball(pen, { u, v, radius, colour: fill }, zoom) {
  const r = radius * zoom, light = pen.createRadialGradient(u - 0.35 * r, v - 0.4 * r, 0.1 * r, u, v, r);
  light.addColorStop(0, mixed(fill, 255, 0.75));
  light.addColorStop(0.45, fill);
  light.addColorStop(1, mixed(fill, 0, 0.35));
  pen.beginPath();
  pen.arc(u, v, r, 0, 2 * Math.PI);
  pen.fillStyle = light;
  pen.fill();
  pen.strokeStyle = "rgb(0 0 0 / .45)";
  pen.lineWidth = 0.7;
  pen.stroke();
}

function draw_stick(pen, first, second, zoom) {
  const length = Math.hypot(first.x - second.x, first.y - second.y, first.z - second.z);
  const middle = [(first.u + second.u) / 2, (first.v + second.v) / 2];
  pen.lineCap = "butt";
  for (const [colour_of, width] of [[() => "#4b5157", 2], [(atom) => mixed(atom.colour, 0, 0.12), 0]]) {
    pen.lineWidth = 2 * STICK * zoom + width;
    for (const [from, to] of [[first, second], [second, first]]) {
      // From the surface of a ball, or else a stick would lie upon the ball behind.
      const start = Math.min((0.9 * from.radius) / length, 0.5);
      pen.strokeStyle = colour_of(from);
      line(pen, from.u + start * (to.u - from.u), from.v + start * (to.v - from.v), ...middle);
    }
  }
}

// A colour on its way to white (255) or black (0).
function mixed(colour_text, end, share) {
  const parts = [1, 3, 5].map((i) => parseInt(colour_text.slice(i, i + 2), 16));
  return `rgb(${parts.map((part) => Math.round(part + share * (end - part))).join(" ")})`;
}

function draw_note(pen, width, height) {
  pen.font = "13px system-ui, sans-serif";
  pen.fillStyle = "#57606a";
  pen.textAlign = "center";
  const note = shape ? "This page holds no coordinates of this molecule." : "Choose a point.";
  pen.fillText(note, width / 2, height / 2);
}
