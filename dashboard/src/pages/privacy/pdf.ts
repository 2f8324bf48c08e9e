// Pages of a PDF that this server redacted: each is one picture, so that no library is needed to show them. (Files of others
// are not read here.)
import { fromBase64 } from '../../lib/bytes'

export interface PdfPage {
  /** Size in points. */
  width: number
  height: number
  draw: () => Promise<ImageBitmap>
}

const latin1 = new TextDecoder('latin1')

/** Reads the pages of a redacted file. */
export function pagesOf(dataUrl: string): PdfPage[] {
  const bytes = fromBase64(dataUrl.slice(dataUrl.indexOf(',') + 1))
  const text = latin1.decode(bytes)
  const objects = new Map<string, { dictionary: string; content: Uint8Array<ArrayBuffer> }>()
  for (const match of text.matchAll(/(?:^|\n|\r)(\d+) 0 obj\s*(<<[\s\S]*?>>)\s*(stream\r?\n)?/g)) {
    const [whole, number = '', dictionary = '', stream] = match
    const length = Number(/\/Length (\d+)/.exec(dictionary)?.[1] ?? 0)
    const begin = match.index + whole.length
    // A dictionary within a dictionary ends at its own brackets; pages have one, pictures have none.
    objects.set(number, { dictionary: stream ? dictionary : text.slice(match.index, begin + 400), content: bytes.slice(begin, begin + (stream ? length : 0)) })
  }
  const pages: PdfPage[] = []
  for (const { dictionary } of objects.values()) {
    if (!/\/Type\s*\/Page\b(?!s)/.test(dictionary)) continue
    const [, width, height] = /\/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]/.exec(dictionary) ?? []
    const picture = objects.get(/\/P (\d+) 0 R/.exec(dictionary.replace(/\/Parent \d+ 0 R/, ''))?.[1] ?? '')
    if (!picture) continue
    pages.push({ width: Number(width), height: Number(height), draw: () => decode(picture) })
  }
  return pages
}

async function decode({ dictionary, content }: { dictionary: string; content: Uint8Array<ArrayBuffer> }): Promise<ImageBitmap> {
  if (/DCTDecode/.test(dictionary)) return createImageBitmap(new Blob([content], { type: 'image/jpeg' }))
  const number = (name: string) => Number(new RegExp(`/${name} (\\d+)`).exec(dictionary)?.[1] ?? 0)
  const [width, height] = [number('Width'), number('Height')]
  const stream = new Blob([content]).stream().pipeThrough(new DecompressionStream('deflate'))
  const packed = new Uint8Array(await new Response(stream).arrayBuffer())
  const row = Math.ceil(width / 2)
  const pixels = new Uint8ClampedArray(width * height * 4)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const two = packed[y * row + (x >> 1)] ?? 255
      const grey = (x & 1 ? two & 15 : two >> 4) * 17
      pixels.set([grey, grey, grey, 255], (y * width + x) * 4)
    }
  }
  return createImageBitmap(new ImageData(pixels, width, height))
}
