// cql-execution with cql-exec-fhir behind Node's own HTTP server: the receptors of a call by CQL, compiled to ELM.
//
// ELM: the compiled library. MODEL=stock makes a patient source for every call, as the documentation shows it, which
// reads the model information of FHIR each time; MODEL=cached reads it once and gives every call a source of its own.

const fs = require('fs');
const http = require('http');
const cql = require('cql-execution');
const fhir = require('cql-exec-fhir');

const library = new cql.Library(JSON.parse(fs.readFileSync(process.env.ELM, 'utf-8')));
const executor = new cql.Executor(library, new cql.CodeService({}));
const read = fhir.PatientSource.FHIRv401();

function patientSource() {
  if (process.env.MODEL === 'stock') return fhir.PatientSource.FHIRv401();
  const own = Object.create(read);
  own.reset();
  return own;
}

async function answer(call) {
  const entry = [];
  for (const value of Object.values(call.prefetch)) {
    if (value.resourceType === 'Patient') entry.push({ resource: value });
    else entry.push(...value.entry);
  }
  const source = patientSource();
  source.loadBundles([{ resourceType: 'Bundle', type: 'collection', entry }]);
  const results = (await executor.exec(source)).patientResults[call.context.patientId];
  const found = ['ER', 'PR', 'HER2'].map((receptor) => {
    const said = ['positive', 'negative'].find((one) => results[`${receptor} ${one}`] === true);
    return `${receptor} ${said || 'missing'}`;
  });
  return { cards: [{ summary: found.join('; '), indicator: 'info', source: { label: 'cql-execution' } }] };
}

function reply(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}

http
  .createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      if (request.method !== 'POST') return reply(response, 200, { services: [] });
      return answer(JSON.parse(Buffer.concat(parts)))
        .then((body) => reply(response, 200, body))
        .catch((error) => reply(response, 500, { error: error.message }));
    });
  })
  .listen(Number(process.env.PORT), '127.0.0.1');
