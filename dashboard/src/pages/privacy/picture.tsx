// Pictures and pages with the boxes of what was found.
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Area } from '../../api/types'
import { Button } from '../../ui/basic'
import { t } from './messages'
import type { PdfPage } from './pdf'

export interface Box extends Area {
  name: string
}

/** Boxes in parts of the picture's size, so that they grow with it. */
function Boxes({ boxes, width, height }: { boxes: Box[]; width: number; height: number }) {
  const part = (value: number, whole: number) => `${(value / whole) * 100}%`
  return (
    <>
      {boxes.map((box, index) => (
        <span
          key={index}
          class="box"
          title={box.name}
          style={{ left: part(box.x, width), top: part(box.y, height), width: part(box.width, width), height: part(box.height, height) }}
        />
      ))}
    </>
  )
}

export function Picture({ src, alt, width, height, boxes = [] }: { src: string; alt: string; width: number; height: number; boxes?: Box[] }) {
  return (
    <div class="picture" dir="ltr">
      <img src={src} alt={alt} width={width} height={height} />
      <Boxes {...{ boxes, width, height }} />
    </div>
  )
}

export function PdfPages({ pages, boxes }: { pages: PdfPage[]; boxes: (Box & { page: number })[] }) {
  const [at, setAt] = useState(0)
  const canvas = useRef<HTMLCanvasElement>(null)
  const page = pages[at]
  useEffect(() => {
    let isOld = false
    void page?.draw().then((bitmap) => {
      const element = canvas.current
      if (isOld || !element) return
      element.width = bitmap.width
      element.height = bitmap.height
      element.getContext('2d')?.drawImage(bitmap, 0, 0)
    })
    return () => {
      isOld = true
    }
  }, [page])
  if (!page) return <p class="muted">{t.notDrawn}</p>
  return (
    <div class="stack tight">
      <div class="picture" dir="ltr" style={{ aspectRatio: `${page.width} / ${page.height}` }}>
        <canvas ref={canvas} role="img" aria-label={t.pageOf(at + 1, pages.length)} />
        <Boxes boxes={boxes.filter((box) => box.page === at + 1)} width={page.width} height={page.height} />
      </div>
      {pages.length > 1 && (
        <div class="row">
          <Button small icon="left" aria-label={t.previous} disabled={at === 0} onClick={() => setAt(at - 1)} />
          <span class="muted small">{t.pageOf(at + 1, pages.length)}</span>
          <Button small icon="right" aria-label={t.next} disabled={at === pages.length - 1} onClick={() => setAt(at + 1)} />
        </div>
      )}
    </div>
  )
}
