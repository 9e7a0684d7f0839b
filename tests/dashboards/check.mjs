// Checks the dashboards against Grafana's own types, of versions 10, 11 and 12: the whole of each dashboard, and
// each panel's options and field settings by the panel's type. Usage: node check.mjs FOLDER-WITH-NODE_MODULES
//
// JSON has strings where the types have enums, so each enum type is replaced by its values. A wrong value or an unknown
// property is an error. The queries of annotations and the definition of variables are not checked: the data source
// defines them, not these types.

import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const installed = resolve(process.argv[2]);
const ts = createRequire(join(installed, 'package.json'))('typescript');
const dashboards = join(dirname(fileURLToPath(import.meta.url)), '../../dashboards');
const work = join(installed, `check-${process.pid}`);

// The panel's type, Grafana's name for it, and its module's name for the field settings.
const kinds = {
  'bargauge': ['BarGauge', null],
  'heatmap': ['Heatmap', 'FieldConfig'],
  'stat': ['Stat', null],
  'state-timeline': ['StateTimeline', 'FieldConfig'],
  'table': ['Table', 'FieldConfig'],
  'timeseries': ['TimeSeries', 'FieldConfig'],
};

const loose = `
type Loose<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer U> ? Array<Loose<U>> : T extends object ? { [K in keyof T]?: Loose<T[K]> } : T;
`;

function source(version, name) {
  const board = JSON.parse(readFileSync(join(dashboards, name), 'utf8'));
  const lines = [`import type { Dashboard } from 'schema${version}';`];
  for (const [kind, [title, fields]] of Object.entries(kinds)) {
    const folder = kind.replace('-', '');
    const path = `../node_modules/schema${version}/dist/esm/raw/composable/${folder}/panelcfg/x/${title}PanelCfg_types.gen`;
    const wanted = [`Options as ${title}Options`, ...(fields ? [`${fields} as ${title}Fields`] : [])];
    lines.push(`import type { ${wanted.join(', ')} } from '${path}';`);
  }
  board.annotations.list.forEach((note) => ['expr', 'titleFormat', 'textFormat', 'tagKeys'].forEach((key) => delete note[key]));
  board.templating.list.forEach((variable) => delete variable.definition);
  lines.push(loose, `export const board: Loose<Dashboard> = ${JSON.stringify(board, null, 1)};`);
  for (const panel of board.panels.filter((panel) => panel.type !== 'row')) {
    const [title, fields] = kinds[panel.type];
    lines.push(`// ${panel.title}`);
    lines.push(`export const options${panel.id}: Loose<${title}Options> = ${JSON.stringify(panel.options, null, 1)};`);
    const custom = panel.fieldConfig.defaults.custom;
    if (custom && fields) {
      lines.push(`export const fields${panel.id}: Loose<${title}Fields> = ${JSON.stringify(custom, null, 1)};`);
    }
  }
  return lines.join('\n');
}

function problems(version, names) {
  const files = names.map((name) => join(work, `grafana-${version}-${name.replace('.json', '.ts')}`));
  files.forEach((file, number) => writeFileSync(file, source(version, names[number])));
  const program = ts.createProgram(files, {
    noEmit: true, strict: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler, types: [], baseUrl: installed,
    paths: { '@grafana/schema': [`node_modules/schema${version}`] }, // the packages name themselves so
  });
  return ts.getPreEmitDiagnostics(program).map((error) => {
    const text = ts.flattenDiagnosticMessageText(error.messageText, '\n  ');
    const at = error.file?.getLineAndCharacterOfPosition(error.start).line;
    const line = at === undefined ? '' : error.file.text.split('\n')[at].trim();
    return `${error.file?.fileName.split('/').pop()}:${at}: ${line}\n  ${text}`;
  });
}

mkdirSync(work);
try {
  const names = readdirSync(dashboards).filter((name) => name.endsWith('.json'));
  const found = [10, 11, 12].flatMap((version) => problems(version, names));
  found.forEach((problem) => console.error(problem));
  if (names.length === 0 || found.length > 0) process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true });
}
