// Streams photos to a planespotter server and prints each result as it arrives.
//
//   npm install
//   node classify.js 127.0.0.1:50051 photo.jpg another.jpg
const { readFileSync } = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const protoLoader = require("@grpc/proto-loader");

const MAX_IN_FLIGHT = 32; // photos sent and not yet answered; the server's own bound is max_in_flight_per_stream

const contract = protoLoader.loadSync("planespotter/v1/classifier.proto", {
  includeDirs: [path.join(__dirname, "../../protos"), __dirname],
  enums: String,
  oneofs: true, // response.event then names the field that is set
});
const { ClassifierService } = grpc.loadPackageDefinition(contract).planespotter.v1;

function inWords({ path, level }) {
  const [constructorNode] = path;
  const deepest = path.find((node) => node.level === level);
  if (!deepest) return `unknown (perhaps ${constructorNode.name})`;
  const names = new Set([constructorNode.name, deepest.name]);
  return `${[...names].join(" ")} (${Math.round(100 * deepest.probability)} %)`;
}

async function main(address, photos) {
  const client = new ClassifierService(address, grpc.credentials.createInsecure());
  const stream = client.streamClassify();
  const unanswered = new Set(photos);
  const unsent = [...unanswered];
  const sendNext = () => {
    const photo = unsent.shift();
    if (photo === undefined) stream.end();
    else stream.write({ photo: { id: photo, content: readFileSync(photo) } });
  };
  stream.write({ config: { ordering: "ORDERING_AS_COMPLETED" } });
  for (let i = 0; i < MAX_IN_FLIGHT; i++) sendNext();
  for await (const response of stream) {
    if (response.event === "drainNotice") {
      unsent.length = 0; // the server accepts no more photos; it still answers those that it has accepted
      continue;
    }
    const { id, outcome, prediction, error } = response.result;
    console.log(`${id}: ${outcome === "error" ? error.message : inWords(prediction)}`);
    unanswered.delete(id);
    sendNext();
  }
  client.close();
  for (const photo of unanswered) console.error(`${photo}: no result, the server has shut down; send it again`);
  process.exitCode = unanswered.size > 0 ? 1 : 0;
}

const [address, ...photos] = process.argv.slice(2);
if (photos.length === 0) {
  console.error("usage: node classify.js HOST:PORT photo.jpg another.jpg");
  process.exit(2);
}
main(address, photos).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
