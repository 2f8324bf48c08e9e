import { useMemo } from 'preact/hooks'
import type { Preview } from '../../api/types'
import { percent } from '../../lib/format'
import { Badge, Card, Copy, Empty } from '../../ui/basic'
import { Icon } from '../../ui/icon'
import { Table, type Column } from '../../ui/table'
import { entityName, Marked } from './marked'
import { t } from './messages'
import { pagesOf } from './pdf'
import { PdfPages, Picture, type Box } from './picture'

export interface Examined {
  text: string | null
  file: { name: string; type: string; dataUrl: string } | null
  preview: Preview
}

interface Line {
  id: string
  type: string
  where: string
  score: number
  by: string
}

export function Result({ examined }: { examined: Examined }) {
  const { preview, text, file } = examined
  const lines = linesOf(examined)
  const badges = Object.entries(preview.counts).map(([type, found]) => (
    <Badge key={type} tone="accent">
      {entityName(type)} {found}
    </Badge>
  ))
  const columns: Column<Line>[] = [
    { name: 'kind', title: t.kind, sort: ({ type }) => type, cell: ({ type }) => <span title={type}>{entityName(type)}</span> },
    { name: 'where', title: t.where, cell: ({ where }) => <span class="clip">{where}</span> },
    { name: 'by', title: t.by, minor: true, cell: ({ by }) => <span class="muted">{by}</span> },
    { name: 'score', title: t.score, end: true, sort: ({ score }) => score, cell: ({ score }) => percent(score) },
  ]
  return (
    <div class="stack">
      <Card title={lines.length ? t.found(lines.length) : t.none} action={<span class="row">{badges}</span>}>
        {text !== null && (
          <div class="grid two">
            <div class="stack tight">
              <div class="row head-row">
                <p class="field-label">{t.original}</p>
              </div>
              <Marked text={text} entities={preview.entities} />
            </div>
            <div class="stack tight">
              <div class="row spread head-row">
                <p class="field-label">{t.redacted}</p>
                <Copy text={preview.redactedText ?? ''} what={t.copyText} />
              </div>
              <pre class="plain">{preview.redactedText}</pre>
            </div>
          </div>
        )}
        {file && preview.images?.map((image) => <ImageResult key={image.path} image={image} file={file} />)}
        {file && preview.pdfs?.map((pdf) => <PdfResult key={pdf.path} pdf={pdf} file={file} />)}
        {lines.length === 0 && (
          <Empty icon="check" title={t.none}>
            {t.noneHint}
          </Empty>
        )}
      </Card>
      {lines.length > 0 && (
        <Card flush>
          <Table caption={t.found(lines.length)} columns={columns} rows={lines} id={({ id }) => id} order="findings" />
        </Card>
      )}
    </div>
  )
}

function linesOf({ preview, text }: Examined): Line[] {
  const letters = Array.from(text ?? '')
  const line = (type: string, where: string, score: number, by: string) => ({ type, where, score, by })
  const found = [
    ...preview.entities.map((entity) => line(entity.type, letters.slice(entity.start, entity.end).join(''), entity.score, entity.recognizer)),
    ...(preview.images ?? []).flatMap((image) => [
      ...image.entities.map((entity) => line(entity.type, place(entity.boxes[0]), entity.score, entity.recognizer)),
      ...image.faces.map((face) => line('FACE', place(face.box), face.score, '')),
    ]),
    ...(preview.pdfs ?? []).flatMap((pdf) => [
      ...pdf.entities.map((entity) => line(entity.type, t.page(entity.page), entity.score, `${entity.recognizer}, ${entity.source}`)),
      ...pdf.faces.map((face) => line('FACE', t.page(face.page), face.score, '')),
    ]),
  ]
  return found.map((one, index) => ({ ...one, id: String(index) }))
}

const place = (box: { x: number; y: number } | undefined) => (box ? `${Math.round(box.x)}, ${Math.round(box.y)}` : '')

function Download({ href, name }: { href: string; name: string }) {
  return (
    <a class="button" href={href} download={`redacted-${name}`}>
      <Icon name="download" />
      {t.download}
    </a>
  )
}

function ImageResult({ image, file }: { image: NonNullable<Preview['images']>[number]; file: { name: string; dataUrl: string } }) {
  const boxes: Box[] = [
    ...image.entities.flatMap((entity) => entity.boxes.map((box) => ({ ...box, name: entityName(entity.type) }))),
    ...image.faces.map(({ box }) => ({ ...box, name: t.face })),
  ]
  const size = { width: image.width, height: image.height }
  return (
    <>
      <div class="grid two">
        <div class="stack tight">
          <p class="field-label">{t.original}</p>
          <Picture src={file.dataUrl} alt={t.picture(file.name)} {...size} boxes={boxes} />
        </div>
        {image.redacted && (
          <div class="stack tight">
            <p class="field-label">{t.redacted}</p>
            <Picture src={image.redacted} alt={t.redactedPicture(file.name)} {...size} />
          </div>
        )}
      </div>
      {image.redacted && (
        <div class="actions">
          <Download href={image.redacted} name={file.name} />
        </div>
      )}
    </>
  )
}

function PdfResult({ pdf, file }: { pdf: NonNullable<Preview['pdfs']>[number]; file: { name: string } }) {
  const pages = useMemo(() => (pdf.redacted ? pagesOf(pdf.redacted) : []), [pdf.redacted])
  const boxes = [
    ...pdf.entities.flatMap((entity) => entity.boxes.map((box) => ({ ...box, page: entity.page, name: entityName(entity.type) }))),
    ...pdf.faces.map(({ box, page }) => ({ ...box, page, name: t.face })),
  ]
  return (
    <>
      <p class="field-label">{t.redacted}</p>
      <PdfPages pages={pages} boxes={boxes} />
      {pdf.redacted && (
        <div class="actions">
          <Download href={pdf.redacted} name={file.name} />
        </div>
      )}
    </>
  )
}
