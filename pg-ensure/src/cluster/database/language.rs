//! Codes of languages that ICU replaces in language tags.

/// Codes with those that ICU has for the same language: three letters where there are two (ISO 639), and codes that are
/// no longer in use. As PostgreSQL 18 stores them.
const REPLACED: &str = "aam aas; aar aa; abk ab; adp dz; afr af; aka ak; amh am; ara ar; arg an; asm as; aue ktz; ava av; \
    ave ae; aym ay; ayx nun; aze az; bak ba; bam bm; bel be; ben bn; bgm bcg; bis bi; bjd drl; bod bo; \
    bos bs; bre br; bul bg; cat ca; ccq rki; ces cs; cha ch; che ce; chu cu; chv cv; cjr mom; cka cmr; \
    cmk xch; cor kw; cos co; coy pij; cqu quh; cre cr; cym cy; dan da; deu de; div dv; drh khk; \
    drw prs; dzo dz; ell el; eng en; epo eo; est et; eus eu; ewe ee; fao fo; fas fa; fij fj; fin fi; \
    fra fr; fry fy; ful ff; gav dev; gfx vaj; ggn gvr; gla gd; gle ga; glg gl; glv gv; grn gn; gti nyc; \
    guj gu; guv duz; hat ht; hau ha; heb he; her hz; hin hi; hmo ho; hrr jal; hrv hr; hun hu; hye hy; \
    ibi opa; ibo ig; ido io; iii ii; iku iu; ile ie; ilw gal; in id; ina ia; ind id; ipk ik; isl is; \
    ita it; iw he; jav jv; jaw jv; jeg oyb; ji yi; jpn ja; jw jv; kal kl; kan kn; kas ks; kat ka; \
    kau kr; kaz kk; kgc tdf; kgh kml; khm km; kik ki; kin rw; kir ky; koj kwv; kom kv; kon kg; kor ko; \
    krm bmf; ktr dtp; kua kj; kur ku; kvs gdj; kwq yam; kxe tvd; kzj dtp; kzt dtp; lao lo; lat la; \
    lav lv; lii raq; lim li; lin ln; lit lt; lmm rmx; ltz lb; lub lu; lug lg; mah mh; mal ml; mar mr; \
    meg cir; mkd mk; mlg mg; mlt mt; mo ro; mol ro; mon mn; mri mi; msa ms; mst mry; mwj vaj; mya my; \
    myt mry; nad xny; nau na; nav nv; nbl nr; ncp kdz; nde nd; ndo ng; nep ne; nld nl; nno nn; nnx ngv; \
    nob nb; nor no; nts pij; nya ny; oci oc; oji oj; ori or; orm om; oss os; oun vaj; pan pa; pcr adx; \
    pli pi; pmc huw; pmu phr; pol pl; por pt; ppa bfy; ppr lcq; pry prt; pus ps; puz pub; que qu; \
    roh rm; ron ro; run rn; rus ru; sag sg; san sa; sca hle; sin si; skk oyb; slk sk; slv sl; sme se; \
    smo sm; sna sn; snd sd; som so; sot st; spa es; sqi sq; srd sc; srp sr; ssw ss; sun su; swa sw; \
    swe sv; tah ty; tam ta; tat tt; tdu dtp; tel te; tgk tg; tgl tl; tha th; thc tpo; thx oyb; tie ras; \
    tir ti; tkk twm; tlw weo; tmp tyj; tne kak; tnf prs; ton to; tsf taj; tsn tn; tso ts; tuk tk; \
    tur tr; twi tw; uig ug; ukr uk; uok ema; urd ur; uzb uz; ven ve; vie vi; vol vo; wln wa; wol wo; \
    xba cax; xho xh; xia acn; xkh waw; xsj suj; ybd rki; yid yi; yma lrr; ymt mtm; yor yo; yos zom; \
    yuu yug; zha za; zho zh; zul zu";

/// Returns the code that ICU has for a language, or the given one if it is not replaced.
pub(super) fn current_code(code: &str) -> &str {
    let mut pairs = REPLACED.split("; ").filter_map(|pair| pair.split_once(' '));
    pairs.find(|(replaced, _)| *replaced == code).map_or(code, |(_, current)| current)
}
